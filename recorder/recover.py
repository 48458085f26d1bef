"""What killed processes left in an archive: all that no living process holds is repaired, finished and listed."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from recorder.finish import finish, publish
from recorder.lease import Busy, Lease
from recorder.library.catalog import Catalog
from recorder.repair import repair

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Report:
    """What ``recover`` did, by recording id."""

    finished: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    """Were finished already; only the library did not know."""
    busy: list[str] = field(default_factory=list)
    """A living process holds them."""
    empty: list[str] = field(default_factory=list)
    """Nothing had reached the disk; removed."""
    failed: dict[str, str] = field(default_factory=dict)


def recover(data: Path) -> Report:
    """Finish and list everything under ``data/archive`` that no process holds. Safe beside a running service."""
    report = Report()
    archive = data / "archive"
    if not archive.is_dir():
        return report
    catalog = Catalog(data / "library.db")
    try:
        for folder in sorted(each for each in archive.iterdir() if each.is_dir()):
            try:
                lease = Lease(folder)
            except Busy:
                report.busy.append(folder.name)
                continue
            try:
                known = repair(folder)
                if known is None:
                    shutil.rmtree(folder)
                    report.empty.append(folder.name)
                    continue
                done = known if known.finished else finish(folder)
                new = publish(catalog, folder, done)
                if not known.finished:
                    report.finished.append(folder.name)
                elif new:
                    report.listed.append(folder.name)
            except (OSError, ValueError) as error:
                log.error("recording %s cannot be recovered: %s", folder.name, error)
                report.failed[folder.name] = str(error)
            finally:
                lease.release()
    finally:
        catalog.close()
    return report
