"""CPU time and memory of a process and its descendants, read from /proc (Linux; elsewhere nothing is measured)."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """``cpu`` is the share of one core (1.0 = one core) since the last look, ``memory`` resident bytes."""

    cpu: float
    memory: int


class ProcessMeter:
    """Call :meth:`look` at intervals. ``tree``: descendants count too (a worker that ended takes its time along)."""

    def __init__(self, pid: int, tree: bool = True) -> None:
        self.pid, self._tree = pid, tree
        self._ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
        self._page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
        self._before: dict[int, int] = {}
        self._at = 0.0

    def look(self, now: float) -> Usage | None:
        """Usage since the last call, ``now`` in seconds; ``None`` the first time and once the process is gone."""
        spent = {pid: ticks for pid in self._pids() if (ticks := self._cpu_ticks(pid)) is not None}
        if self.pid not in spent:
            return None
        before, self._before = self._before, spent
        elapsed, self._at = now - self._at, now
        if not before or elapsed <= 0:
            return None
        used = sum(max(0, ticks - before.get(pid, 0)) for pid, ticks in spent.items())
        return Usage(used / self._ticks / elapsed, sum(self._resident(pid) for pid in spent))

    def _pids(self) -> list[int]:
        if not self._tree:
            return [self.pid]
        parents: dict[int, list[int]] = {}
        for path in _PROC.glob("[0-9]*"):
            fields = _stat(int(path.name))
            if fields is not None:
                parents.setdefault(int(fields[1]), []).append(int(path.name))
        found = [self.pid]
        for pid in found:
            found += parents.get(pid, [])
        return found

    @staticmethod
    def _cpu_ticks(pid: int) -> int | None:
        fields = _stat(pid)
        return None if fields is None else int(fields[11]) + int(fields[12])

    def _resident(self, pid: int) -> int:
        try:
            return int((_PROC / str(pid) / "statm").read_text().split()[1]) * self._page
        except (OSError, IndexError, ValueError):
            return 0


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on: the name before may contain anything (proc(5))."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def machine() -> str:
    """The machine in one line: processor, cores, system, Python."""
    model = ""
    try:
        for line in (_PROC / "cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        model = platform.processor()
    system, python = platform.system(), platform.python_version()
    return f"{model or platform.machine()}, {os.cpu_count()} cores, {system}, Python {python}"
