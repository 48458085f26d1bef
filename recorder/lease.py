"""Who may write to a recording's folder: one process at a time, by flock(2), which a killed process cannot keep."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

NAME = "lock"


class Busy(Exception):
    """Another process is writing to this recording."""


class Lease:
    """An exclusive lock on a recording's folder, until ``release`` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """:raises Busy: it is another's. :raises OSError: the lock file cannot be made."""
        self._descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise Busy(folder.name) from error

    def fileno(self) -> int:
        """For a child that goes on with the work: the lock lasts until both have closed it."""
        return self._descriptor

    def release(self) -> None:
        os.close(self._descriptor)
