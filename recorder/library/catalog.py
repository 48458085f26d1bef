"""The library's catalogue: one row per playable file, in SQLite (WAL), written by the recorder and by editors.

Everything in it but title and ``published`` can be built again from the manifests in the archive.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from recorder.limits import S
from recorder.manifest import Manifest

_metadata = sa.MetaData()
_resources = sa.Table(
    "resources",
    _metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("recording", sa.String, nullable=False),
    sa.Column("lesson", sa.String, nullable=False, index=True),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False, index=True),  # ns, Unix
    sa.Column("duration", sa.Float, nullable=False),  # s
    sa.Column("published", sa.Boolean, nullable=False),
    sa.Column("media_type", sa.String, nullable=False),
    sa.Column("file", sa.String, nullable=False),
    sa.Column("poster", sa.String, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("gaps", sa.String, nullable=False),  # JSON
)


@dataclass(frozen=True, slots=True)
class Resource:
    """One playable file. ``file`` and ``poster`` are relative to the archive; none of their parts is user text."""

    id: str
    recording: str
    lesson: str
    title: str
    recorded_at: int
    duration: float
    published: bool
    media_type: str
    file: str
    poster: str
    size: int
    sha256: str
    width: int
    height: int
    gaps: tuple[dict[str, Any], ...]

    def view(self) -> dict[str, Any]:
        """The ``ResourceView`` of docs/protocol.md."""
        at = datetime.fromtimestamp(self.recorded_at / S, UTC)
        return {
            "id": self.id,
            "lesson": self.lesson,
            "title": self.title,
            "recorded_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "duration": round(self.duration, 3),
            "published": self.published,
            "media_type": self.media_type,
            "size": self.size,
            "sha256": self.sha256,
            "width": self.width,
            "height": self.height,
            "gaps": list(self.gaps),
            "poster": f"/api/library/{self.id}/poster" if self.poster else None,
        }


class Catalog:
    """Synchronous and thread-safe; call it through a thread from a loop. Several processes may hold one."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 10})
        sa.event.listen(self._engine, "connect", _configure)
        _metadata.create_all(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    def add(self, done: Manifest) -> bool:
        """List what a finished recording has. Idempotent; ``True`` if anything was new."""
        if done.finished is None:
            raise ValueError("the recording is not finished")
        head, parts = done.head, done.finished.parts
        rows = []
        for number, part in enumerate(parts, 1):
            many = len(parts) > 1
            gaps = [
                {"start": round(gap.start / S, 3), "seconds": round((gap.end - gap.start) / S, 3), "track": gap.track}
                for gap in part.gaps
            ]
            row = {
                "id": head.id if number == 1 else f"{head.id}-{number}",
                "recording": head.id,
                "lesson": head.lesson,
                "title": f"{head.title}（{number}/{len(parts)}）" if many else head.title,
                "recorded_at": part.recorded_at_ns,
                "duration": part.duration / S,
                "published": False,
                "media_type": part.media_type,
                "file": f"{head.id}/{part.file}",
                "poster": f"{head.id}/{part.poster}" if part.poster else "",
                "size": part.size,
                "sha256": part.sha256,
                "width": part.width,
                "height": part.height,
                "gaps": json.dumps(gaps),
            }
            rows.append(row)
        with self._engine.begin() as connection:
            added = [
                connection.execute(insert(_resources).values(row).on_conflict_do_nothing()).rowcount for row in rows
            ]
        return any(count > 0 for count in added)

    def get(self, resource: str) -> Resource | None:
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_resources).where(_resources.c.id == resource)).one_or_none()
        return None if row is None else _resource(row)

    def of_lesson(self, lesson: str) -> list[Resource]:
        """All files of a lesson, in the order they were recorded; nearly always one."""
        query = sa.select(_resources).where(_resources.c.lesson == lesson).order_by(_resources.c.recorded_at)
        with self._engine.connect() as connection:
            return [_resource(row) for row in connection.execute(query)]

    def search(
        self, text: str = "", *, lesson: str | None = None, limit: int = 20, offset: int = 0
    ) -> tuple[int, list[Resource]]:
        """Resources whose title contains ``text``, newest first, and how many there are in all.

        ``lesson``: show also the unpublished of this lesson (``"*"``: of all); ``None``: only what is published.
        """
        shown: sa.ColumnElement[bool] = _resources.c.published.is_(True)
        if lesson is not None:
            shown = sa.true() if lesson == "*" else sa.or_(shown, _resources.c.lesson == lesson)
        wanted = sa.select(_resources).where(shown)
        if text:
            wanted = wanted.where(_resources.c.title.contains(text, autoescape=True))
        page = wanted.order_by(_resources.c.recorded_at.desc(), _resources.c.id).limit(limit).offset(offset)
        with self._engine.connect() as connection:
            total = connection.execute(sa.select(sa.func.count()).select_from(wanted.subquery())).scalar_one()
            return total, [_resource(row) for row in connection.execute(page)]

    def change(self, resource: str, *, published: bool | None = None, title: str | None = None) -> Resource | None:
        """Set what is not ``None``; returns the resource as it is now, ``None`` if there is none."""
        values: dict[str, Any] = {}
        if published is not None:
            values["published"] = published
        if title is not None:
            values["title"] = title
        if values:
            with self._engine.begin() as connection:
                connection.execute(sa.update(_resources).where(_resources.c.id == resource).values(values))
        return self.get(resource)


def _configure(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _resource(row: sa.Row[Any]) -> Resource:
    found = Resource(**row._mapping)
    return replace(found, gaps=tuple(json.loads(row.gaps)))
