"""REST under ``/api``: lessons, their connections, the figures for ops, the OpenAPI document."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from signaling import limits
from signaling import messages as m
from signaling.core.commands import End, Learn
from signaling.core.lesson import TITLE_PATTERN, Lesson
from signaling.http import bodies
from signaling.http.gate import Gate
from signaling.problems import Problem
from signaling.roles import END, OPS, ROLES, SEE_SEATS
from signaling.routes import Body, Operation, Parameter, Success
from signaling.runner import Runner
from signaling.series import percentile

_encode = msgspec.json.Encoder().encode

_WHO = ("no-token", "bad-token", "expired-token", "other-lesson", "role", "internal")
_LESSON = Parameter("lesson", "The lesson's id.", {"type": "string", "minLength": 1}, where="path", required=True)


class NewLesson(msgspec.Struct, frozen=True):
    title: Annotated[str, Meta(min_length=1, max_length=limits.TITLE_CHARS, pattern=TITLE_PATTERN)]


class Latency(msgspec.Struct, frozen=True):
    p50: float | None
    p99: float | None


class RecorderSummary(msgspec.Struct, frozen=True):
    """Over the lessons that are live: ``lag_ms`` is the worst, ``gaps`` and ``seconds`` are sums, ``states`` counts."""

    lessons: int
    lag_ms: float | None
    seconds: float
    gaps: int
    states: dict[str, int]


class OpsSummary(msgspec.Struct, frozen=True):
    """``lessons``: live ones; ``seats``: present ones; ``loss``: 0..1, mean of the seats; ``now``: Unix seconds."""

    now: float
    lessons: int
    seats: int
    sockets: int
    joins_per_minute: int
    latency_ms: Latency
    loss: float | None
    recorder: RecorderSummary
    lessons_by_state: dict[str, int]
    seats_by_state: dict[str, int]
    figures: dict[str, float]
    series: dict[str, list[tuple[int, float | None]]]


class Rest:
    """``figures``: what else the composer knows (CPU, packets); names are the composer's."""

    def __init__(
        self,
        runner: Runner,
        gate: Gate,
        figures: Callable[[], Mapping[str, float]] | None,
        document: Callable[[], dict[str, Any]],
    ) -> None:
        self.runner = runner
        self.gate = gate
        self._figures = figures
        self._document = document
        self._openapi: bytes | None = None

    async def list_lessons(self, request: web.Request) -> web.Response:
        claims = self.gate.need(request, None, OPS)
        limit = _number(request, "limit", 200, 1, limits.LESSONS_PER_PAGE)
        offset = _number(request, "offset", 0, 0, 2**31)
        if claims.everywhere:
            lessons = await asyncio.to_thread(self.runner.store.list, limit=limit, offset=offset)
        else:
            one = await self.runner.lesson(claims.lesson)
            lessons = [] if one is None else [one][offset:]
        # The core is ahead of the store by the time of one write.
        current = (self.runner.core.lesson(lesson.id) or lesson for lesson in lessons)
        return _json(m.Lessons(tuple(m.lesson_view(lesson) for lesson in current)))

    async def create_lesson(self, request: web.Request) -> web.Response:
        claims = self.gate.need(request, None, OPS)
        if not claims.everywhere:
            raise Problem("other-lesson")
        wanted = await bodies.json(request, NewLesson)
        try:
            lesson = await asyncio.to_thread(self.runner.store.create, wanted.title)
        except ValueError as error:
            raise Problem("bad-json", where="$.title") from error
        self.runner.run(Learn(lesson))
        return _json(m.lesson_view(lesson), status=201, headers={"Location": f"/api/lessons/{lesson.id}"})

    async def get_lesson(self, request: web.Request) -> web.Response:
        lesson, role = await self._lesson(request, ROLES)
        sees = role in SEE_SEATS
        detail = self.runner.core.detail(lesson.id, seats=sees)
        return _json(detail or m.lesson_detail(lesson, (), () if sees else None, None))

    async def end_lesson(self, request: web.Request) -> web.Response:
        lesson, _ = await self._lesson(request, END)
        if not lesson.over:
            self.runner.run(End(lesson.id))
            await self.runner.writer.drained_soon()
        return _json(m.lesson_view(self.runner.core.lesson(lesson.id) or lesson))

    async def list_connections(self, request: web.Request) -> web.Response:
        lesson, _ = await self._lesson(request, SEE_SEATS)
        return _json(m.ConnectionsView(self.runner.core.connections(lesson.id)))

    async def _lesson(self, request: web.Request, roles: frozenset[str]) -> tuple[Lesson, str]:
        name = request.match_info["lesson"]
        claims = self.gate.need(request, name, roles)
        lesson = await self.runner.lesson(name)
        if lesson is None:
            raise Problem("unknown-lesson")
        return lesson, claims.role

    async def ops(self, request: web.Request) -> web.Response:
        self.gate.need(request, None, OPS)
        since = _number(request, "since", 0, 0, 2**53)
        return _json(self.summary(since))

    def summary(self, since: float = 0.0) -> OpsSummary:
        """The same for whoever sits in this process."""
        runner = self.runner
        now = runner.clock()
        totals = runner.core.totals(now)
        states: dict[str, int] = {}
        for recorder in totals.recorders:
            states[recorder.state] = states.get(recorder.state, 0) + 1
        return OpsSummary(
            now=round(now, 3),
            lessons=totals.lessons["live"],
            seats=sum(count for state, count in totals.seats.items() if state != "gone"),
            sockets=len(runner.hub),
            joins_per_minute=runner.joins.count(now),
            latency_ms=Latency(percentile(totals.latencies, 0.5), percentile(totals.latencies, 0.99)),
            loss=round(sum(totals.losses) / len(totals.losses), 4) if totals.losses else None,
            recorder=RecorderSummary(
                lessons=len(totals.recorders),
                lag_ms=max((recorder.lag_ms for recorder in totals.recorders), default=None),
                seconds=round(sum(recorder.seconds for recorder in totals.recorders), 1),
                gaps=sum(recorder.gaps for recorder in totals.recorders),
                states=states,
            ),
            lessons_by_state=totals.lessons,
            seats_by_state=totals.seats,
            figures=dict(self._figures()) if self._figures is not None else {},
            series=runner.series.since(since),
        )

    async def openapi(self, request: web.Request) -> web.Response:
        if self._openapi is None:
            self._openapi = _encode(self._document())
        return web.Response(body=self._openapi, content_type=bodies.JSON)

    def operations(self) -> list[Operation]:
        lesson_problems = (*_WHO, "unknown-lesson")
        listing = (
            Parameter("limit", "At most so many.", _range(1, limits.LESSONS_PER_PAGE, 200)),
            Parameter("offset", "Skip so many.", _range(0, 2**31, 0)),
        )
        new = ("bad-json", "bad-request", "slow-body", "too-large", "not-json-type")
        return [
            Operation(
                "GET", "/api/lessons", "list_lessons", "Lessons, newest first", self.list_lessons, OPS,
                Success(200, "Lessons.", bodies.JSON, m.Lessons), (*_WHO, "bad-parameter"), listing, tag="lessons",
            ),
            Operation(
                "POST", "/api/lessons", "create_lesson", "Create a lesson (token for every lesson)",
                self.create_lesson, OPS, Success(201, "Created.", bodies.JSON, m.LessonView, ("Location",)),
                (*_WHO, *new), (), Body(bodies.JSON, NewLesson), tag="lessons",
            ),
            Operation(
                "GET", "/api/lessons/{lesson}", "get_lesson", "One lesson", self.get_lesson, ROLES,
                Success(200, "The lesson.", bodies.JSON, m.LessonDetail), lesson_problems, (_LESSON,), tag="lessons",
            ),
            Operation(
                "POST", "/api/lessons/{lesson}/end", "end_lesson", "End the lesson; again is no error",
                self.end_lesson, END, Success(200, "The lesson.", bodies.JSON, m.LessonView), lesson_problems,
                (_LESSON,), tag="lessons",
            ),
            Operation(
                "GET", "/api/lessons/{lesson}/connections", "list_connections", "Who is connected how",
                self.list_connections, SEE_SEATS, Success(200, "Connections.", bodies.JSON, m.ConnectionsView),
                lesson_problems, (_LESSON,), tag="lessons",
            ),
            Operation(
                "GET", "/api/ops", "ops", "How the house is doing", self.ops, OPS,
                Success(200, "Figures, and the last hour of them.", bodies.JSON, OpsSummary), (*_WHO, "bad-parameter"),
                (Parameter("since", "Only points after this time (Unix seconds).", _range(0, 2**53, 0)),), tag="ops",
            ),
            Operation(
                "GET", "/api/openapi.json", "openapi", "This document", self.openapi, None,
                Success(200, "OpenAPI 3.1.", bodies.JSON), ("internal",), tag="ops",
            ),
        ]  # fmt: skip


def _range(low: int, high: int, default: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high, "default": default}


def _number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    # int() would also take "+5", " 5", "1_000" and digits of other scripts.
    if not text.isascii() or not text.isdigit() or len(text) > 16 or not low <= int(text) <= high:
        raise Problem("bad-parameter", name=name)
    return int(text)


def _json(value: msgspec.Struct, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        status=status,
        body=_encode(value),
        content_type=bodies.JSON,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
