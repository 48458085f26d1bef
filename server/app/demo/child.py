"""The demo's people, in a process of their own so that the server's figures are its own: a teacher and classrooms.

Reads ``Orders`` from stdin, writes one ``Report`` a line to stdout. They are clients like any other: everything they
know of the server is its WHIP and WHEP URLs.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack

import msgspec
import uvloop

from loadtest.classroom import VirtualClassroom
from loadtest.rawclient.resource import Refusal
from loadtest.rawclient.sdp import SdpError
from loadtest.retry import Unreachable
from loadtest.teacher import VirtualTeacher
from server.app import heap, logs
from server.app.supervise import StopSignals, die_with

log = logging.getLogger("demo")

REPORT_EVERY = 0.5  # seconds


class Member(msgspec.Struct, frozen=True):
    name: str
    token: str


class Orders(msgspec.Struct, frozen=True):
    parent: int
    whip: str
    whep: str
    teacher: str  # token
    classrooms: tuple[Member, ...]


class TeacherLine(msgspec.Struct, frozen=True):
    state: str
    frames: int
    bytes: int
    rtt_ms: float | None
    error: str


class ClassroomLine(msgspec.Struct, frozen=True):
    name: str
    state: str
    frames: int
    width: int
    height: int
    bitrate: int
    first_frame_ms: float | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    lost: int
    loss: float
    reconnects: int
    error: str


class Report(msgspec.Struct, frozen=True):
    teacher: TeacherLine
    classrooms: tuple[ClassroomLine, ...]


def teacher_line(teacher: VirtualTeacher) -> TeacherLine:
    stats = teacher.stats()
    return TeacherLine(stats.state, stats.sent.frames, stats.sent.bytes, stats.sent.rtt_ms, stats.error)


def classroom_line(room: VirtualClassroom) -> ClassroomLine:
    stats = room.stats()
    return ClassroomLine(
        name=room.name,
        state=stats.state,
        frames=stats.frames,
        width=stats.width,
        height=stats.height,
        bitrate=stats.bitrate,
        first_frame_ms=stats.first_frame_ms,
        latency_p50_ms=stats.latency_p50_ms,
        latency_p99_ms=stats.latency_p99_ms,
        lost=stats.lost,
        loss=stats.loss,
        reconnects=stats.reconnects,
        error=stats.error,
    )


async def _take_part(orders: Orders) -> None:
    signals = StopSignals()
    signals.listen()
    teacher = VirtualTeacher(orders.whip, orders.teacher, keyframes="jump")
    rooms = [VirtualClassroom(orders.whep, member.token, name=member.name) for member in orders.classrooms]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(teacher)
        for room in rooms:
            await stack.enter_async_context(room)
        while not signals.asked.is_set():
            report = Report(teacher_line(teacher), tuple(classroom_line(room) for room in rooms))
            print(msgspec.json.encode(report).decode(), flush=True)
            try:
                await asyncio.wait_for(signals.asked.wait(), REPORT_EVERY)
            except TimeoutError:
                continue


def main() -> None:
    orders = msgspec.json.decode(sys.stdin.buffer.read(), type=Orders)
    die_with(orders.parent)
    logs.set_up("text", "warning")
    heap.settle()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_take_part(orders))
    except (Refusal, SdpError, Unreachable, OSError) as error:
        log.error("the demo's teacher cannot join: %s", error)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
