"""What is said on the WebSocket and what views look like: msgspec structs, from which docs and OpenAPI are made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from signaling.core.lesson import Lesson, LessonState, rfc3339

JSON_PROTOCOL = "kongzhong.v1.json"
MSGPACK_PROTOCOL = "kongzhong.v1.msgpack"

SeatState = Literal["waiting", "connecting", "watching", "poor", "gone"]
SEAT_STATES: tuple[SeatState, ...] = ("waiting", "connecting", "watching", "poor", "gone")

Name = Annotated[str, Meta(max_length=64)]
Milliseconds = Annotated[float, Meta(ge=0, le=3_600_000)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Rid = Annotated[str, Meta(max_length=64)]


# --- views ----------------------------------------------------------------------------------------------------------


class LayerView(msgspec.Struct, frozen=True):
    rid: str
    bitrate: int
    width: int
    height: int
    frames: float


class PublicationView(msgspec.Struct, frozen=True):
    publication: str
    kind: Literal["audio", "video"]
    codec: str
    layers: tuple[LayerView, ...]
    silent: bool


class SeatView(msgspec.Struct, frozen=True, omit_defaults=True):
    """``since``: when the present interval began, or when the seat left."""

    seat: str
    role: str
    present: bool
    since: str
    connections: int
    state: SeatState
    layer: str | None = None
    loss: float | None = None
    rtt_ms: float | None = None
    latency_ms: float | None = None
    first_frame_ms: float | None = None


class Counts(msgspec.Struct, frozen=True):
    """Classrooms only: present ones, those of them that watch well or poorly, and those that were here and left."""

    classrooms: int
    watching: int
    poor: int
    gone: int


class LessonView(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    title: str
    state: LessonState
    created_at: str
    started_at: str | None = None
    ended_at: str | None = None
    resource: str | None = None


class LessonDetail(LessonView, frozen=True, omit_defaults=True, kw_only=True):
    publications: tuple[PublicationView, ...]
    seats: tuple[SeatView, ...] | None = None
    counts: Counts | None = None


class Lessons(msgspec.Struct, frozen=True):
    lessons: tuple[LessonView, ...]


class ConnectionView(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    seat: str
    role: str
    direction: Literal["publish", "watch"]
    publication: str
    since: str
    up: bool
    layer: str | None = None
    loss: float | None = None
    rtt_ms: float | None = None


class ConnectionsView(msgspec.Struct, frozen=True):
    connections: tuple[ConnectionView, ...]


def lesson_view(lesson: Lesson) -> LessonView:
    return LessonView(**_lesson_fields(lesson))


def _lesson_fields(lesson: Lesson) -> dict[str, Any]:
    return {
        "id": lesson.id,
        "title": lesson.title,
        "state": lesson.state,
        "created_at": rfc3339(lesson.created_at),
        "started_at": None if lesson.started_at is None else rfc3339(lesson.started_at),
        "ended_at": None if lesson.ended_at is None else rfc3339(lesson.ended_at),
        "resource": lesson.resource,
    }


def lesson_detail(
    lesson: Lesson,
    publications: tuple[PublicationView, ...],
    seats: tuple[SeatView, ...] | None,
    counts: Counts | None,
) -> LessonDetail:
    return LessonDetail(**_lesson_fields(lesson), publications=publications, seats=seats, counts=counts)


# --- client → server ------------------------------------------------------------------------------------------------


class ClientMessage(msgspec.Struct, frozen=True, tag_field="type"):
    """Unknown fields pass, so that newer pages may talk to an older server."""


class Hello(ClientMessage, frozen=True, tag="hello"):
    token: str
    language: Name | None = None


class Ping(ClientMessage, frozen=True, tag="ping"):
    id: int | Name | None = None


class ChooseLayer(ClientMessage, frozen=True, tag="layer"):
    """``connection``: its public id, or the secret at the end of its ``Location``."""

    connection: Name
    rid: Rid | None


class EndLesson(ClientMessage, frozen=True, tag="end"):
    pass


class Stats(ClientMessage, frozen=True, tag="stats"):
    """What the browser's getStats says, each 5 s. ``latency_ms``: one way, from the camera's capture to the screen."""

    connection: Name = ""
    join_ms: Milliseconds | None = None
    first_frame_ms: Milliseconds | None = None
    latency_ms: Milliseconds | None = None
    loss: Annotated[float, Meta(ge=0, le=1)] | None = None
    frames_decoded: Count | None = None
    freezes: Count | None = None
    layer: Rid | None = None


CLIENT_MESSAGES: tuple[type[ClientMessage], ...] = (Hello, Ping, ChooseLayer, EndLesson, Stats)


# --- server → client ------------------------------------------------------------------------------------------------


class ServerMessage(msgspec.Struct, frozen=True, tag_field="type", omit_defaults=True):
    pass


class Welcome(ServerMessage, frozen=True, tag="welcome"):
    seat: str
    role: str
    lesson: LessonView
    publications: tuple[PublicationView, ...]
    counts: Counts
    seats: tuple[SeatView, ...] | None = None


class LessonChanged(ServerMessage, frozen=True, tag="lesson"):
    lesson: LessonView


class Published(ServerMessage, frozen=True, tag="publication"):
    publication: PublicationView


class Unpublished(ServerMessage, frozen=True, tag="unpublished"):
    publication: str
    kind: Literal["audio", "video"]


class Seats(ServerMessage, frozen=True, tag="seats"):
    """Only the seats that changed since the last batch."""

    seats: tuple[SeatView, ...]
    counts: Counts


class LayerChanged(ServerMessage, frozen=True, tag="layer"):
    connection: str
    rid: str | None
    by: Literal["server", "client"]


class RecordingNow(ServerMessage, frozen=True, tag="recording"):
    state: str
    seconds: float
    gaps: int
    lag_ms: float
    detail: str


class Pong(ServerMessage, frozen=True, tag="pong"):
    now_ms: int
    id: int | str | None = None


class Error(ServerMessage, frozen=True, tag="error"):
    code: str
    detail: str


class Bye(ServerMessage, frozen=True, tag="bye"):
    """``reason``: a problem code, or ``ended``, ``restart``, ``slow``."""

    reason: str


SERVER_MESSAGES: tuple[type[ServerMessage], ...] = (
    Welcome,
    LessonChanged,
    Published,
    Unpublished,
    Seats,
    LayerChanged,
    RecordingNow,
    Pong,
    Error,
    Bye,
)


def table() -> str:
    """The messages as Markdown, for docs: direction, type, fields (``?``: may be missing)."""
    lines = ["| direction | type | fields |", "|---|---|---|"]
    for arrow, structs in (("client → server", CLIENT_MESSAGES), ("server → client", SERVER_MESSAGES)):
        for struct in structs:
            info = msgspec.structs.fields(struct)
            fields = ", ".join(f"`{field.encode_name}{'' if field.required else '?'}`" for field in info)
            lines.append(f"| {arrow} | `{struct.__struct_config__.tag}` | {fields} |")
    return "\n".join(lines)
