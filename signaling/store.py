"""Where lessons and attendance are kept: SQLAlchemy Core on SQLite, used by the server and beside it by the CLI.

The invariant: a row's state only goes forward (``scheduled → live → ended → archived``), whoever writes it. So two
processes that both know a lesson cannot undo one another, and a restart finds every lesson where it was.

Every method blocks for a short transaction; the server calls them in a thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Float,
    MetaData,
    String,
    Table,
    bindparam,
    case,
    create_engine,
    event,
    func,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Engine, RowMapping
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from signaling.core.attendance import Attendance
from signaling.core.lesson import STATES, TITLE_PATTERN, Lesson, new_lesson
from signaling.limits import TITLE_CHARS

SCHEMA_VERSION = 1
BUSY_MS = 10_000  # a writer holds the lock for milliseconds; a backup of the file for seconds

_metadata = MetaData()
_lessons = Table(
    "lessons",
    _metadata,
    Column("id", String, primary_key=True),
    Column("title", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("created_at", Float, nullable=False, index=True),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("resource", String),
    Column("changed_at", Float, nullable=False, index=True),
)
_attendance = Table(
    "attendance",
    _metadata,
    Column("lesson", String, primary_key=True),
    Column("seat", String, primary_key=True),
    Column("role", String, primary_key=True),
    Column("start", Float, primary_key=True),
    Column("end", Float),
)


class StoreError(OSError):
    """The store cannot be used: unwritable, not a database, or from a newer kongzhong."""


class LessonStore:
    """The lessons of one data folder. Safe for several threads and several processes at once."""

    def __init__(self, path: Path) -> None:
        """
        :raises StoreError: the file cannot be opened as a store of ours.
        """
        self._engine = _open(path)

    def close(self) -> None:
        self._engine.dispose()

    def create(self, title: str) -> Lesson:
        """A scheduled lesson with a random id.

        :raises ValueError: the title is empty, too long, or has control characters.
        """
        title = title.strip()
        if len(title) > TITLE_CHARS or not re.fullmatch(TITLE_PATTERN, title):
            raise ValueError(f"a title has 1 to {TITLE_CHARS} printable characters")
        lesson = new_lesson(title, time.time())
        with self._engine.begin() as connection:
            row = {**msgspec.structs.asdict(lesson), "changed_at": lesson.created_at}
            connection.execute(insert(_lessons).values(row))
        return lesson

    def get(self, lesson: str) -> Lesson | None:
        with self._engine.connect() as connection:
            row = connection.execute(select(_lessons).where(_lessons.c.id == lesson)).mappings().first()
        return None if row is None else _lesson(row)

    def list(self, *, limit: int = 200, offset: int = 0) -> list[Lesson]:
        """Newest first."""
        query = select(_lessons).order_by(_lessons.c.created_at.desc(), _lessons.c.id).limit(limit).offset(offset)
        with self._engine.connect() as connection:
            return [_lesson(row) for row in connection.execute(query).mappings()]

    def unfinished(self) -> tuple[Lesson, ...]:
        """What a server takes up at its start: scheduled and live lessons, and those whose recording may still come."""
        waits = (_lessons.c.state == "ended") & _lessons.c.started_at.is_not(None)
        return self._select(waits | _lessons.c.state.in_(("scheduled", "live")))

    def changed(self, since: float) -> tuple[Lesson, ...]:
        """What anybody wrote since then (Unix seconds)."""
        return self._select(_lessons.c.changed_at >= since)

    def _select(self, condition: ColumnElement[bool]) -> tuple[Lesson, ...]:
        query = select(_lessons).where(condition)
        with self._engine.connect() as connection:
            return tuple(_lesson(row) for row in connection.execute(query).mappings())

    def counts(self) -> dict[str, int]:
        """Lessons by state."""
        query = select(_lessons.c.state, func.count()).group_by(_lessons.c.state)
        with self._engine.connect() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        return {state: found.get(state, 0) for state in STATES}

    def save(self, lessons: Iterable[Lesson]) -> None:
        """Write transitions; a row that is already further on stays as it is."""
        rows = [{f"_{name}": value for name, value in msgspec.structs.asdict(lesson).items()} for lesson in lessons]
        if not rows:
            return
        for row in rows:
            row["_rank"] = STATES.index(row["_state"])
        rank = case({state: index for index, state in enumerate(STATES)}, value=_lessons.c.state)
        change = (
            update(_lessons)
            .where(_lessons.c.id == bindparam("_id"), rank < bindparam("_rank"))
            .values(
                state=bindparam("_state"),
                started_at=bindparam("_started_at"),
                ended_at=bindparam("_ended_at"),
                resource=bindparam("_resource"),
                changed_at=time.time(),
            )
        )
        with self._engine.begin() as connection:
            connection.execute(change, rows)

    def attended(self, intervals: Iterable[Attendance]) -> None:
        """Write intervals as they begin and as they end; the same interval again only sets its end."""
        rows = [msgspec.structs.asdict(interval) for interval in intervals]
        if not rows:
            return
        statement = insert(_attendance)
        statement = statement.on_conflict_do_update(
            index_elements=["lesson", "seat", "role", "start"], set_={"end": statement.excluded.end}
        )
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    def attendance(self, lesson: str) -> tuple[Attendance, ...]:
        """All intervals of a lesson, by seat and time."""
        query = (
            select(_attendance)
            .where(_attendance.c.lesson == lesson)
            .order_by(_attendance.c.role, _attendance.c.seat, _attendance.c.start)
        )
        with self._engine.connect() as connection:
            return tuple(
                Attendance(row["lesson"], row["seat"], row["role"], row["start"], row["end"])
                for row in connection.execute(query).mappings()
            )


def _lesson(row: RowMapping) -> Lesson:
    return Lesson(
        id=row["id"],
        title=row["title"],
        state=row["state"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        resource=row["resource"],
    )


def _open(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def _configure(raw: Any, _record: Any) -> None:
        cursor = raw.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")  # first: switching to WAL may itself have to wait
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # a lesson that ended stays ended after a power cut
        cursor.close()

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with engine.begin() as connection:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{path}: written by a newer kongzhong (schema {version}, this one knows {SCHEMA_VERSION})"
                )
            # IF NOT EXISTS and not a look before: several processes may start on an empty folder at once.
            for table in _metadata.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for index in table.indexes:
                    connection.execute(CreateIndex(index, if_not_exists=True))
            if version < SCHEMA_VERSION:
                connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
    except (SQLAlchemyError, OSError) as error:
        engine.dispose()
        if isinstance(error, StoreError):
            raise
        reason = getattr(error, "orig", None) or error
        raise StoreError(f"{path}: {reason}") from error
    return engine
