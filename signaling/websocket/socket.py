"""The class WebSocket, ``GET /ws/{lesson}``: hello, then messages both ways, in JSON or msgpack."""

from __future__ import annotations

import asyncio
import time
from weakref import WeakValueDictionary

import msgspec
from aiohttp import WSMsgType, web

from signaling import limits
from signaling import messages as m
from signaling.core.commands import Attach, Detach, End, Reported
from signaling.core.seats import SeatKey
from signaling.cors import Cors
from signaling.problems import Problem
from signaling.roles import END
from signaling.routes import Operation, Parameter, Success
from signaling.runner import Runner
from signaling.texts import Language, language_of, words
from signaling.tokens import Claims, TokenError, Tokens
from signaling.websocket.bucket import Bucket
from signaling.websocket.decoding import decode
from signaling.websocket.sending import NORMAL, POLICY, Socket

_CLOSE_CODES = {
    "no-token": 4401,
    "bad-token": 4401,
    "expired-token": 4401,
    "other-lesson": 4403,
    "role": 4403,
    "unknown-lesson": 4404,
    "no-hello": 4408,
    "lesson-ended": 4410,
}


class Closing(Exception):
    """This socket is to be closed for a reason that has a code in the catalogue."""

    def __init__(self, code: str, **fields: object) -> None:
        super().__init__(code)
        self.code = code
        self.fields = fields


class ClassSocket:
    """The shell: handshake, hello, then one task that reads and one that writes."""

    def __init__(self, runner: Runner, tokens: Tokens, cors: Cors) -> None:
        self.runner = runner
        self._tokens = tokens
        self._cors = cors
        self._buckets: WeakValueDictionary[tuple[str, SeatKey], Bucket] = WeakValueDictionary()
        self._open = 0
        self._ungreeted = 0

    async def get(self, request: web.Request) -> web.StreamResponse:
        peer = self._handshake(request)
        await peer.prepare(request)
        transport = request.transport

        def abort() -> None:
            if transport is not None:
                transport.abort()

        socket = Socket(peer, abort, self.runner.metrics.slow_readers.inc)
        loop = asyncio.get_running_loop()
        writer = loop.create_task(socket.write())
        reader = loop.create_task(self._converse(request, peer, socket))
        self._open += 1
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            if peer.closed:
                writer.cancel()
            else:
                socket.hang_up(NORMAL, "closed")  # unless it was hung up already, with a better reason
                await asyncio.wait((writer,))  # what is queued goes out first
            reader.cancel()  # nobody may read any more when close() waits for the peer's answer
            await asyncio.wait((reader, writer))
            if not socket.cut and not peer.closed:
                await peer.close(code=socket.close_code or NORMAL)
        finally:
            self._open -= 1
            writer.cancel()
            reader.cancel()
            if socket.close_code is not None:
                self.runner.metrics.socket_closes.labels(str(socket.close_code)).inc()
        if not reader.cancelled() and (error := reader.exception()) is not None:
            raise error
        return peer

    def _handshake(self, request: web.Request) -> web.WebSocketResponse:
        """
        :raises Problem: this is no handshake that we take.
        """
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise Problem("upgrade-required", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
        if not self._cors.may_upgrade(request):
            raise Problem("foreign-origin")
        if self._open >= limits.SOCKETS or self._ungreeted >= limits.UNGREETED_SOCKETS:
            raise Problem("full")
        offered = [name.strip() for name in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if not {m.JSON_PROTOCOL, m.MSGPACK_PROTOCOL} & set(offered):
            raise Problem("no-subprotocol")
        return web.WebSocketResponse(
            protocols=(m.JSON_PROTOCOL, m.MSGPACK_PROTOCOL),
            heartbeat=self.runner.settings.heartbeat,
            max_msg_size=limits.MESSAGE_BYTES,
            timeout=limits.CLOSE_SECONDS,
            compress=False,  # a page's messages are small; a deflate window for each socket is not
        )

    async def _converse(self, request: web.Request, peer: web.WebSocketResponse, socket: Socket) -> None:
        lesson = request.match_info["lesson"]
        language = language_of(request.headers.get("Accept-Language"))
        try:
            self._ungreeted += 1
            try:
                hello = await self._hello(peer, socket)
            finally:
                self._ungreeted -= 1
            if hello is None:
                return
            language = language_of(hello.language) if hello.language else language
            claims = await self._greet(lesson, hello, socket)
        except Closing as closing:
            _say_problem(socket, closing.code, language, closing.fields)
            socket.hang_up(_CLOSE_CODES.get(closing.code, POLICY), closing.code)
            return
        try:
            await self._listen(lesson, claims, peer, socket, language)
        finally:
            self.runner.hub.remove(lesson, socket)
            self.runner.run(Detach(socket.id))

    async def _hello(self, peer: web.WebSocketResponse, socket: Socket) -> m.Hello | None:
        """The first message; ``None`` when the peer went instead."""
        seconds = self.runner.settings.hello
        try:
            frame = await peer.receive(timeout=seconds)
        except TimeoutError as error:
            raise Closing("no-hello", seconds=seconds) from error
        if frame.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return None
        try:
            message = decode(socket.protocol, frame.type, frame.data)
        except Problem as problem:
            raise Closing("no-hello", seconds=seconds) from problem
        if not isinstance(message, m.Hello):
            raise Closing("no-hello", seconds=seconds)
        return message

    async def _greet(self, lesson: str, hello: m.Hello, socket: Socket) -> Claims:
        """From here on the socket belongs to a seat."""
        try:
            claims = self._tokens.verify(hello.token)
        except TokenError as error:
            raise Closing(error.code) from error
        if not claims.covers(lesson):
            raise Closing("other-lesson")
        if await self.runner.lesson(lesson) is None:
            raise Closing("unknown-lesson")
        socket.seat = (claims.role, claims.seat)
        self.runner.hub.add(lesson, socket)
        try:
            self.runner.run(Attach(lesson, socket.id, claims.seat, claims.role))
        except Problem as problem:
            self.runner.hub.remove(lesson, socket)
            # An archived lesson is no longer in the core, but it is not unknown.
            raise Closing("lesson-ended" if problem.code == "unknown-lesson" else problem.code) from problem
        return claims

    async def _listen(
        self, lesson: str, claims: Claims, peer: web.WebSocketResponse, socket: Socket, language: Language
    ) -> None:
        key = (lesson, socket.seat)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = Bucket(limits.MESSAGES_PER_SECOND, limits.MESSAGES_BURST)
            self._buckets[key] = bucket
        async for frame in peer:
            if not bucket.take(time.monotonic()):
                _say_problem(socket, "flood", language)
                socket.hang_up(POLICY, "flood")
                return
            try:
                message = decode(socket.protocol, frame.type, frame.data)
                await self._act(lesson, claims, socket, message)
            except Problem as problem:
                _say_problem(socket, problem.code, language, problem.fields)

    async def _act(self, lesson: str, claims: Claims, socket: Socket, message: m.ClientMessage) -> None:
        runner = self.runner
        match message:
            case m.Ping():
                socket.say(m.Pong(now_ms=int(runner.clock() * 1000), id=message.id))
            case m.EndLesson():
                if claims.role not in END:
                    raise Problem("role", role=claims.role)
                runner.run(End(lesson))
            case m.Stats():
                handle = runner.registry.by_id(message.connection) or runner.registry.find(message.connection)
                mine = handle is not None and handle.lesson == lesson and handle.seat == socket.seat
                stats = msgspec.structs.replace(message, connection=handle.id if handle and mine else "")
                runner.run(Reported(lesson, claims.seat, claims.role, stats))
            case m.ChooseLayer():
                handle = runner.registry.by_id(message.connection) or runner.registry.find(message.connection)
                if handle is None or handle.lesson != lesson or handle.direction != "watch":
                    raise Problem("unknown-connection")
                if handle.seat != socket.seat:
                    raise Problem("not-yours")
                await runner.choose_layer(handle, message.rid)
            case m.Hello():
                raise Problem("bad-message", where="$.type")

    def operations(self) -> list[Operation]:
        lesson = Parameter("lesson", "The lesson's id.", {"type": "string"}, where="path", required=True)
        return [
            Operation(
                "GET", "/ws/{lesson}", "class_socket",
                "The class WebSocket; the token comes in its first message (docs/protocol.md)", self.get, None,
                Success(101, "Switching to kongzhong.v1.json or kongzhong.v1.msgpack."),
                ("upgrade-required", "no-subprotocol", "foreign-origin", "bad-request", "full", "internal"),
                (lesson,), tag="socket",
            ),
        ]  # fmt: skip


def _say_problem(socket: Socket, code: str, language: Language, fields: dict[str, object] | None = None) -> None:
    socket.say(m.Error(code, words(code, language, **(fields or {}))[1]))
