"""What a killed process or a power cut left of one recording, made whole again.

``survey`` is the judgement, without IO; ``repair`` does to the folder what it says. The manifest decides: bytes that it
does not list are removed, bytes that it lists and that are missing or wrong (CRC) become a gap.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from recorder import manifest
from recorder.disk import Disk
from recorder.manifest import FragmentLine, GapLine, Line, Manifest, SegmentLine
from recorder.segments import PART

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Plan:
    """What to do to one folder."""

    lines: list[Line]
    """The manifest as it shall be."""
    cut: dict[str, int] = field(default_factory=dict)
    """Files (as they are named now) that are longer than what is good in them, and the good length."""
    rename: list[str] = field(default_factory=list)
    """Parts that are whole now: ``NAME.part`` becomes ``NAME``."""
    remove: list[str] = field(default_factory=list)
    damaged: int = 0
    """Fragments that the manifest lists and the files do not have."""

    @property
    def empty(self) -> bool:
        """Nothing of the lesson is left."""
        return not any(isinstance(line, FragmentLine) for line in self.lines)


def survey(
    known: Manifest, sizes: Mapping[str, int], crc: Callable[[str, int, int], int], thorough: bool = True
) -> Plan:
    """Compare the manifest with the files of its folder.

    ``sizes`` are the segment files there are; ``crc(name, offset, length)`` reads one range (it is within the size).
    Not ``thorough``: files that have their final name were forced to disk before they got it; only their length counts.
    """
    plan = Plan([])
    listed = set()
    bad: set[FragmentLine | SegmentLine] = set()
    for segment in known.segments:
        name = segment.line.file
        present = name if name in sizes else name + PART
        listed.add(present)
        size = sizes.get(present, 0)
        header = segment.line
        checked = thorough or present.endswith(PART)

        def sound(
            offset: int, length: int, crc32: int, present: str = present, size: int = size, checked: bool = checked
        ) -> bool:
            return offset + length <= size and (not checked or crc(present, offset, length) == crc32)

        good = 0
        if sound(0, header.length, header.crc32):
            good = header.length
            for piece in segment.fragments:
                if not sound(piece.offset, piece.length, piece.crc32):
                    break
                good = piece.offset + piece.length
        kept = [piece for piece in segment.fragments if piece.offset + piece.length <= good]
        bad.update(piece for piece in segment.fragments if piece not in kept)
        if not kept:
            bad.add(header)
            if present in sizes:
                plan.remove.append(present)
            continue
        if size > good:
            plan.cut[present] = good
        if present.endswith(PART):
            plan.rename.append(present)
    plan.remove += sorted(set(sizes) - listed)
    plan.damaged = sum(isinstance(each, FragmentLine) for each in bad)
    last = max((each.end for s in known.segments for each in s.fragments if each not in bad), default=0)
    for line in known.lines:
        if isinstance(line, FragmentLine) and line in bad:
            if line.start < last:  # in the middle; at the end the recording is just shorter
                plan.lines += [GapLine(part.track, part.start, part.end, "damaged") for part in line.tracks]
        elif not (isinstance(line, SegmentLine) and line in bad):
            plan.lines.append(line)
    return plan


def repair(folder: Path, disk: Disk | None = None, thorough: bool = True) -> Manifest | None:
    """Make one recording consistent; the caller holds its lease. ``None``: there was nothing worth keeping, the folder
    may be removed. Finished recordings are returned as they are. Not ``thorough`` is for a lesson that waits to go on:
    reading all that was recorded would lengthen the gap; ``finish`` does it later.

    :raises OSError: the disk refuses.
    """
    disk = disk or Disk()
    path = folder / manifest.NAME
    data = path.read_bytes() if path.exists() else b""
    known = manifest.parse(data)
    if known is None:
        return None
    if known.finished is not None:
        return known
    suffixes = (".mp4", ".webm", ".mkv")
    files = {each.name: each.stat().st_size for each in folder.iterdir() if each.name[:6].isdigit()}
    sizes = {name: size for name, size in files.items() if name.removesuffix(PART).endswith(suffixes)}
    plan = survey(known, sizes, lambda name, offset, length: _crc(folder / name, offset, length), thorough)
    if plan.empty:
        return None
    for name, length in plan.cut.items():
        descriptor = disk.open(folder / name)
        try:
            disk.truncate(descriptor, length)
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)
    for name in plan.rename:
        disk.rename(folder / name, folder / name.removesuffix(PART))
    if plan.lines != known.lines or known.length != len(data):
        _rewrite(disk, path, plan.lines)
    for name in plan.remove:  # last: the manifest no longer speaks of them
        (folder / name).unlink(missing_ok=True)
    if plan.damaged or plan.cut or plan.remove:
        log.warning(
            "recording %s repaired: %d damaged fragments, %d files cut, %d removed",
            folder.name,
            plan.damaged,
            len(plan.cut),
            len(plan.remove),
        )
    return manifest.parse(path.read_bytes())


def _rewrite(disk: Disk, path: Path, lines: list[Line]) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = disk.create(fresh)
    try:
        disk.write(descriptor, b"".join(manifest.encode(line) for line in lines))
        disk.sync(descriptor)
    finally:
        disk.close(descriptor)
    disk.rename(fresh, path)


def _crc(path: Path, offset: int, length: int) -> int:
    with path.open("rb") as file:
        file.seek(offset)
        return zlib.crc32(file.read(length))
