"""Garbage collection that does not stop the media: what the start has loaded is never searched again.

A full collection walks every container object of the process. After a start that is a hundred thousand, of imported
modules almost all: 160 ms in which no packet moves, several times while a county joins.
"""

from __future__ import annotations

import gc

from server.app.limits import HEAP_GENERATIONS


def settle() -> None:
    """Call once, when everything is loaded and before anybody joins."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*HEAP_GENERATIONS)
