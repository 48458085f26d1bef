"""Files that grow by whole pieces: a segment (``000001.mp4.part`` until it is full) and the manifest beside it."""

from __future__ import annotations

import zlib
from pathlib import Path

from recorder.disk import Disk

PART = ".part"


class Growing:
    """An append-only file that knows up to where it is whole. After a failed ``append`` call ``cut`` or ``close``."""

    def __init__(self, disk: Disk, path: Path, descriptor: int, length: int) -> None:
        self._disk = disk
        self._descriptor = descriptor
        self.path = path
        self.length = length

    @classmethod
    def create(cls, disk: Disk, path: Path) -> Growing:
        """A new file whose name survives a power cut."""
        descriptor = disk.create(path)
        try:
            disk.sync_folder(path.parent)
        except OSError:
            disk.close(descriptor)
            raise
        return cls(disk, path, descriptor, 0)

    @classmethod
    def reopen(cls, disk: Disk, path: Path, length: int) -> Growing:
        """An existing file, cut to the ``length`` that is known to be good."""
        growing = cls(disk, path, disk.open(path), length)
        growing.cut()
        return growing

    def append(self, data: bytes) -> tuple[int, int, int]:
        """Write; returns offset, length and CRC-32."""
        offset = self.length
        self._disk.write(self._descriptor, data)
        self.length += len(data)
        return offset, len(data), zlib.crc32(data)

    def cut(self, length: int | None = None) -> None:
        """Remove what a failed write left behind (or, with ``length``, more)."""
        if length is not None:
            self.length = length
        self._disk.truncate(self._descriptor, self.length)

    def sync(self) -> None:
        self._disk.sync(self._descriptor)

    def close(self) -> None:
        self._disk.close(self._descriptor)

    def complete(self) -> None:
        """Close a segment: forced to disk, then renamed from ``NAME.part`` to ``NAME``."""
        try:
            self.sync()
        finally:
            self.close()
        self._disk.rename(self.path, self.path.with_suffix(""))
