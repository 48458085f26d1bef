"""CPU time, memory and the metrics page of a server under measurement, seen from outside."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of the process, without its children (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK


def resident(pid: int) -> int:
    """Bytes in memory that are the process's own (shared pages are not counted)."""
    sizes = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(sizes[1]) - int(sizes[2])) * _PAGE


def child_of(pid: int) -> int:
    """The one child of the server: its recorder.

    :raises LookupError: there is none.
    """
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                return int(path.parent.name)
        except (OSError, ValueError):
            continue  # a process that has just ended
    raise LookupError(f"process {pid} has no child")


@dataclass(frozen=True, slots=True)
class Metrics:
    """One scrape: ``(name, labels) -> value``."""

    values: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def get(self, name: str, **labels: str) -> float:
        return self.values.get((name, frozenset(labels.items())), 0.0)

    def quantile(self, name: str, quantile: float, since: Metrics) -> float:
        """The upper bound of the bucket in which the quantile of the observations since an earlier scrape falls."""
        buckets = sorted(
            (float(dict(labels)["le"]), value - since.values.get((key, labels), 0.0))
            for (key, labels), value in self.values.items()
            if key == f"{name}_bucket"
        )
        total = buckets[-1][1] if buckets else 0.0
        return next((bound for bound, count in buckets if total and count >= quantile * total), float("nan"))


async def scrape(http: aiohttp.ClientSession) -> Metrics:
    async with http.get("/metrics") as response:
        response.raise_for_status()
        text = await response.text()
    return Metrics(
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )
