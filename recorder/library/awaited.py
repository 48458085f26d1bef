"""Whether a lesson that is in the library has more to come: the rest of one whose server was killed in its middle."""

from __future__ import annotations

import time
from collections.abc import Container
from pathlib import Path

from recorder import manifest

FRESH = 600.0
"""Seconds since the last line of a manifest. A recording is finished within a minute of its end; one that cannot be is
no reason to hide the others."""


def awaited(archive: Path, lesson: str, listed: Container[str]) -> bool:
    """Whether ``archive`` has a living recording of the lesson whose id is not among those ``listed``.

    Cheap enough for the end of a lesson (a directory entry for each recording there is), not for each page.
    """
    if not archive.is_dir():  # recorded on another machine
        return False
    return any(_is_of(folder / manifest.NAME, lesson) for folder in archive.iterdir() if folder.name not in listed)


def _is_of(path: Path, lesson: str) -> bool:
    try:
        if time.time() - path.stat().st_mtime > FRESH:
            return False
        with path.open("rb") as file:
            known = manifest.parse(file.readline())
    except OSError:
        return False
    return known is not None and known.head.lesson == lesson
