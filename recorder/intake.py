"""One relay's tap: handshake, frames checked and handed on, answers sent. What is not a tap is closed and counted."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Callable
from typing import Any, Protocol

from recorder import limits, tap

log = logging.getLogger(__name__)


class Handler(Protocol):
    """What is done with the frames of all taps; every call is cheap and none awaits."""

    def opened(self, peer: Peer, lesson: str, title: str) -> None: ...
    def track(
        self, peer: Peer, lesson: str, track: int, publication: str, kind: str, codec: str, clock: int, channels: int
    ) -> None: ...
    def packets(self, peer: Peer, track: int, packets: list[tuple[int, bytes]]) -> None: ...
    def clock(self, peer: Peer, track: int, rtp: int, ntp_ns: int, arrival_ns: int) -> None: ...
    def dropped(self, peer: Peer, track: int, packets: int) -> None: ...
    def ended(self, peer: Peer, lesson: str) -> None: ...
    def lost(self, peer: Peer) -> None: ...


class Peer:
    """The relay at the other end."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.skipped = 0

    def send(self, *frame: Any) -> None:
        """Best effort: a relay that does not read misses states, never stops a recording."""
        if self._writer.is_closing():
            return
        if self._writer.transport.get_write_buffer_size() > limits.TAP_BACKLOG:
            self.skipped += 1
            return
        self._writer.write(tap.encode(*frame))

    def close(self) -> None:
        self._writer.close()


async def serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: bytes | None, handler: Handler
) -> bool:
    """Serve one connection to its end. ``secret``: ``None`` on a Unix socket. ``False``: it was no proper tap."""
    peer = Peer(writer)
    nonce = b"" if secret is None else secrets.token_bytes(32)
    peer.send("challenge", nonce)
    decoder = tap.Decoder()
    ready = False
    try:
        async with asyncio.timeout(limits.HELLO) as waiting:
            while data := await reader.read(256 * 1024):
                for frame in decoder.feed(data):
                    if ready:
                        _dispatch(frame, peer, handler)
                        continue
                    _check_hello(frame, secret, nonce)
                    ready = True
                    waiting.reschedule(None)
                    peer.send("ready")
        return True
    except (tap.TapError, TimeoutError) as error:
        log.warning("a tap was closed: %s", error or "no hello")
        return False
    except ConnectionError:
        return True
    finally:
        if ready:
            handler.lost(peer)
        writer.close()


def _check_hello(frame: list[Any], secret: bytes | None, nonce: bytes) -> None:
    match frame:
        case ["hello", tap.VERSION, bytes() as mac, *_]:
            if secret is not None and not hmac.compare_digest(mac, tap.answer(secret, nonce)):
                raise tap.TapError("wrong answer to the challenge")
        case ["hello", version, *_]:
            raise tap.TapError(f"version {version!r}, this recorder speaks {tap.VERSION}")
        case _:
            raise tap.TapError("no hello")


_NAME: Callable[[Any], bool] = lambda value: isinstance(value, str) and 0 < len(value) <= limits.NAME_CHARS  # noqa: E731


def _dispatch(frame: list[Any], peer: Peer, handler: Handler) -> None:
    """:raises TapError: a known name with wrong arguments. Unknown names pass: a newer relay may say more."""
    match frame:
        case ["rtp", int(track), list(packets)]:
            handler.packets(peer, track, [_packet(each) for each in packets])
        case ["clock", int(track), int(rtp), int(ntp), int(arrival)]:
            handler.clock(peer, track, rtp & 0xFFFFFFFF, ntp, arrival)
        case ["open", str(lesson), str(title), int()] if _NAME(lesson):
            handler.opened(peer, lesson, title[: limits.TITLE_CHARS])
        case [
            "track",
            str(lesson),
            int(track),
            str(publication),
            "audio" | "video" as kind,
            str(codec),
            int(clock),
            int(channels),
        ] if _NAME(publication):
            handler.track(peer, lesson, track, publication, kind, codec, clock, channels)
        case ["dropped", int(track), int(packets)]:
            handler.dropped(peer, track, packets)
        case ["silent", int()]:
            pass  # what is missing shows in the packets that follow
        case ["end", str(lesson)]:
            handler.ended(peer, lesson)
        case ["rtp" | "clock" | "open" | "track" | "dropped" | "silent" | "end" as name, *_]:
            raise tap.TapError(f"{name} with wrong arguments")


def _packet(item: Any) -> tuple[int, bytes]:
    match item:
        case [int(arrival), bytes(data)]:
            return arrival, data
    raise tap.TapError("rtp with wrong arguments")
