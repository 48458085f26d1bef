"""A raw watcher: receives through WHEP, counts every packet, decrypts a sample, answers with RR, NACK, PLI and REMB.

Invariant: the path of a packet that is in order costs a dictionary look-up and a few additions. All that costs more
(decryption, parsing of payloads and extensions) happens at frame starts, on every Nth packet, or until the first
keyframe is complete.

Latency is measured of frames captured after the connection stood. What a server sends a newcomer from its cache is
older by design: it shows in the time to the first keyframe, not as a slow line.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import zlib
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from loadtest import limits
from loadtest.rawclient import dtls, resource, rtcp, rtp, sdp
from loadtest.rawclient import payload as formats
from loadtest.rawclient.peer import Peer
from loadtest.rawclient.watching import CODECS, EXTENSIONS, Meters, Timeline, WatcherOptions, WatcherStats

NACK_EVERY = 0.06  # seconds


class Watcher:
    """``await start()``, later ``await stop()``; ``lost`` is set with the reason when the server is gone."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: str,
        token: str,
        meters: Meters,
        options: WatcherOptions | None = None,
    ) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.options = options = options or WatcherOptions()
        self.dimensions: tuple[int, int] | None = None  # of the last keyframe that was decrypted
        self._session, self._endpoint, self._token, self._meters = session, endpoint, token, meters
        self._loop = asyncio.get_running_loop()
        self._peer = Peer(self._rtp, self._rtcp, self._on_lost)
        self._resource: resource.Resource | None = None
        self._stats = WatcherStats()
        self._streams: dict[int, rtp.Stream] = {}
        self._codecs: dict[int, sdp.Codec] = {}
        self._repairs: dict[int, int] = {}  # payload type of RTX -> of the stream it repairs
        self._nackable: set[int] = set()
        self._capture_id = 0
        self._ssrc = secrets.randbelow((1 << 32) - 1) + 1
        self._began = 0.0
        self._connected_ns = 0
        self._stopping = False
        self._countdown = options.open_every
        self._all = options.on_frame is not None or options.open_every <= 1
        self._want_key = True  # until a keyframe is complete every video packet is decrypted
        self._key: tuple[int, int] | None = None  # timestamp and extended first sequence of a keyframe under way
        self._pli_at = 0.0
        self._assemblers: dict[int, formats.FrameAssembler] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._remb = float(options.remb)
        self._reported_bytes = 0

    # --- start and end ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """POST and connect.

        :raises resource.Refusal: the server said no.
        :raises sdp.SdpError: its answer is unusable.
        :raises Unreachable: no connection.
        """
        self._began = time.monotonic()
        try:
            await self._peer.open(urlsplit(self._endpoint).hostname or "")
            media = [
                sdp.Media("audio", "recvonly", CODECS[:1], EXTENSIONS),
                sdp.Media("video", "recvonly", CODECS[1:], EXTENSIONS),
            ]
            peer = self._peer
            spec = sdp.OfferSpec(peer.ufrag, peer.pwd, dtls.fingerprint(), peer.hosts, media, secrets.token_hex(8))
            self._resource = await resource.open_resource(
                self._session, self._endpoint, sdp.build_offer(spec), self._token
            )
            answer = sdp.parse_answer(self._resource.answer)
            self._learn(answer)
            await peer.connect(answer)
        except BaseException:
            await self.stop()
            raise
        self._stats.connected_ms = self._elapsed()
        self._connected_ns = time.time_ns()
        if self.options.feedback:
            # A random phase keeps a thousand watchers from reporting in the same millisecond.
            self._later("report", secrets.randbelow(1000) / 1000, self._report)

    async def stop(self) -> None:
        """BYE, DELETE, close. Idempotent."""
        self._stopping = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._peer.send_rtcp(rtcp.receiver_report(self._ssrc, []) + rtcp.bye([self._ssrc]))
        opened, self._resource = self._resource, None
        if opened is not None:
            await resource.close_resource(self._session, opened, self._token)
        self._peer.close()

    def stats(self) -> WatcherStats:
        """A snapshot; the object is reused."""
        stats, streams = self._stats, self._streams.values()
        stats.packets = sum(stream.received for stream in streams)
        stats.bytes = sum(stream.bytes for stream in streams)
        stats.video_packets = sum(stream.received for stream in streams if stream.is_video)
        stats.frames = sum(stream.frames for stream in streams if stream.is_video)
        stats.lost = sum(stream.lost for stream in streams)
        stats.missing = sum(len(stream.missing) for stream in streams)
        stats.gaps = sum(stream.gaps for stream in streams)
        stats.recovered = sum(stream.recovered for stream in streams)
        stats.reordered = sum(stream.reordered for stream in streams)
        stats.duplicates = sum(stream.duplicates for stream in streams)
        stats.forged = self._peer.srtp.refused if self._peer.srtp is not None else 0
        video = [stream for stream in streams if stream.is_video]
        stats.jitter_ms = max((stream.jitter * 1000 / stream.clock for stream in video), default=0.0)
        return stats

    @property
    def rtt_ms(self) -> float | None:
        """Of the last consent check."""
        return None if self._peer.rtt is None else self._peer.rtt * 1000

    @property
    def consent_age(self) -> float:
        """Seconds since the server last answered a consent check."""
        return self._peer.consent_age

    def probe(self) -> None:
        """Send a consent check now: silence may be a teacher who pauses or a line that is cut."""
        self._peer.probe()

    def request_keyframe(self) -> None:
        """Send a PLI for every video stream."""
        for stream in self._streams.values():
            if stream.is_video:
                self._stats.plis += 1
                self._peer.send_rtcp(rtcp.receiver_report(self._ssrc, []) + rtcp.pli(self._ssrc, stream.ssrc))

    def _learn(self, answer: sdp.Answer) -> None:
        for section in answer.sections:
            if not section.accepted:
                continue
            for codec in section.codecs:
                self._codecs[codec.payload_type] = codec
                if codec.rtx is not None:
                    self._repairs[codec.rtx] = codec.payload_type
                if "nack" in codec.feedback:
                    self._nackable.add(codec.payload_type)
            for number, uri in section.extensions:
                if uri == rtp.ABS_CAPTURE_TIME:
                    self._capture_id = number

    def _on_lost(self, reason: str) -> None:
        for timer in self._timers.values():
            timer.cancel()
        if not self.lost.done() and not self._stopping:
            self.lost.set_result(reason)

    def _elapsed(self) -> float:
        return (time.monotonic() - self._began) * 1000

    def _later(self, name: str, delay: float, call: Callable[[], None]) -> None:
        if not self.lost.done():
            self._timers[name] = self._loop.call_later(delay, call)

    # --- the packet path --------------------------------------------------------------------------------------------

    def _rtp(self, data: bytes) -> None:
        _, second, sequence, timestamp, ssrc = rtp.HEADER.unpack_from(data)
        stream = self._streams.get(ssrc)
        if stream is None:
            stream = self._admit(ssrc, second & 0x7F, sequence, data)
            if stream is None:
                return
        if sequence == stream.next:
            stream.next = (sequence + 1) & 0xFFFF
            stream.highest += 1
            stream.received += 1
        elif stream.jump(sequence):
            if stream.missing and "nack" not in self._timers:
                self._later("nack", 0.01, self._ask)
        else:
            return
        stream.bytes += len(data)
        if timestamp != stream.timestamp:
            self._new_frame(stream, timestamp, data)
        self._countdown -= 1
        if self._all or self._countdown <= 0 or (self._want_key and stream.is_video):
            self._countdown = self.options.open_every
            extended = stream.highest - ((stream.highest - sequence) & 0xFFFF)
            self._open(stream, extended, timestamp, second >= 0x80, data)

    def _admit(self, ssrc: int, payload_type: int, sequence: int, data: bytes) -> rtp.Stream | None:
        """The first packet of an SSRC, or a retransmission."""
        repaired = self._repairs.get(payload_type)
        if repaired is not None:
            self._repair(repaired, data)
            return None
        codec = self._codecs.get(payload_type)
        if codec is None or len(self._streams) >= limits.MAX_STREAMS:
            self._stats.stray += 1
            return None
        if self._stats.first_packet_ms is None:
            self._stats.first_packet_ms = self._elapsed()
        video = codec.name.lower() != "opus"
        stream = rtp.Stream(ssrc, payload_type, sequence, codec.clock, video)
        self._streams[ssrc] = stream
        if video and self.options.feedback:
            # As a browser does: a stream that does not begin with a keyframe is asked for one.
            self._later("first", 0.3, self._first_pli)
        return stream

    def _new_frame(self, stream: rtp.Stream, timestamp: int, data: bytes) -> None:
        if (timestamp - stream.timestamp) & 0xFFFFFFFF > 0x80000000 and stream.timestamp >= 0:
            return  # a late packet of an earlier frame
        stream.timestamp = timestamp
        stream.frames += 1
        stream.time(timestamp, time.monotonic())
        captured = rtp.capture_time(data, self._capture_id) if self._capture_id else None
        if captured is not None and 0 < self._connected_ns <= captured:
            meter = self._meters.video_latency if stream.is_video else self._meters.audio_latency
            meter.add((time.time_ns() - captured) // 1000)

    def _repair(self, payload_type: int, data: bytes) -> None:
        """A retransmission: after decryption its first two bytes are the original sequence number (RFC 4588)."""
        stream = next((s for s in self._streams.values() if s.payload_type == payload_type), None)
        clear = self._peer.srtp.open_rtp(data) if self._peer.srtp is not None else None
        if stream is None or clear is None:
            return
        offset = rtp.payload_offset(clear)
        if len(clear) < offset + 2 + (clear[-1] if clear[0] & 0x20 else 0):
            return  # padding: a probe of the server's bandwidth estimate
        sequence = int.from_bytes(clear[offset : offset + 2], "big")
        if stream.recover(sequence):
            stream.bytes += len(data)
            extended = stream.highest - ((stream.highest - sequence) & 0xFFFF)
            timestamp = int.from_bytes(clear[4:8], "big")
            body = rtp.payload(clear)[2:]
            self._look(stream, extended, timestamp, bool(clear[1] & 0x80), body)

    def _open(self, stream: rtp.Stream, extended: int, timestamp: int, marker: bool, data: bytes) -> None:
        clear = self._peer.srtp.open_rtp(data) if self._peer.srtp is not None else None
        if clear is None:
            return
        self._stats.opened += 1
        self._look(stream, extended, timestamp, marker, rtp.payload(clear))

    def _look(self, stream: rtp.Stream, extended: int, timestamp: int, marker: bool, body: bytes) -> None:
        """What only a clear payload tells: keyframes, fingerprints, frames for a decoder."""
        codec = self._codecs[stream.payload_type].name
        if stream.is_video:
            if self._want_key or self._all:
                self._follow_keyframe(stream, codec, extended, timestamp, marker, body)
            if self.options.timeline is not None and not self._capture_id:
                self._match(codec, body, self.options.timeline)
        if self.options.on_frame is not None:
            self._assemble(stream, codec, extended, timestamp, marker, body, self.options.on_frame)

    def _follow_keyframe(
        self, stream: rtp.Stream, codec: str, extended: int, timestamp: int, marker: bool, body: bytes
    ) -> None:
        traits = formats.describe(codec, body)
        if traits.key and traits.starts:
            self._key = (timestamp, extended)
            self.dimensions = formats.dimensions(codec, body) or self.dimensions
        whole = self._key is not None and self._key[0] == timestamp and marker
        if whole and self._key is not None and not any(extended > n > self._key[1] for n in stream.missing):
            self._want_key, self._key = False, None
            if self._stats.first_keyframe_ms is None:
                self._stats.first_keyframe_ms = self._elapsed()

    def _match(self, codec: str, body: bytes, timeline: Timeline) -> None:
        part = body[formats.vp8_offset(body) :] if codec == "VP8" else body
        now = time.time_ns()
        latency = timeline.latency_ns(zlib.crc32(part), now)
        if latency is not None and 0 < self._connected_ns <= now - latency:
            self._meters.video_latency.add(latency // 1000)

    def _assemble(
        self,
        stream: rtp.Stream,
        codec: str,
        extended: int,
        timestamp: int,
        marker: bool,
        body: bytes,
        take: Callable[[formats.Frame], None],
    ) -> None:
        if not stream.is_video:
            take(formats.Frame("opus", timestamp, body, True))
            return
        assembler = self._assemblers.get(stream.ssrc)
        if assembler is None:
            assembler = self._assemblers[stream.ssrc] = formats.FrameAssembler(codec)
        for frame in assembler.push(extended, timestamp, marker, body):
            take(frame)

    # --- feedback ---------------------------------------------------------------------------------------------------

    def _rtcp(self, data: bytes) -> None:
        for item in rtcp.parse(data):
            if isinstance(item, rtcp.SenderReport) and (stream := self._streams.get(item.ssrc)) is not None:
                stream.last_sr, stream.last_sr_at = item.ntp >> 16 & 0xFFFFFFFF, time.monotonic()

    def _first_pli(self) -> None:
        if self._want_key:
            self._pli()
            self._later("first", 1.0, self._first_pli)

    def _pli(self) -> None:
        now = time.monotonic()
        if self.options.feedback and now - self._pli_at >= 0.5:
            self._pli_at = now
            self.request_keyframe()

    def _ask(self) -> None:
        """Request what is missing; what was asked for too often is lost, and for video means a new keyframe."""
        now = time.monotonic()
        del self._timers["nack"]
        for stream in self._streams.values():
            if not stream.missing:
                continue
            lost = stream.lost
            wanted = list(stream.wanted(now, NACK_EVERY))
            if wanted and self.options.feedback and stream.payload_type in self._nackable:
                self._stats.nacks += len(wanted)
                self._peer.send_rtcp(rtcp.receiver_report(self._ssrc, []) + rtcp.nack(self._ssrc, stream.ssrc, wanted))
            if stream.lost > lost and stream.is_video:
                self._want_key = True
                if (assembler := self._assemblers.get(stream.ssrc)) is not None:
                    assembler.lost()
                self._pli()
                self._later("first", 1.0, self._first_pli)
        if any(stream.missing for stream in self._streams.values()):
            self._later("nack", 0.02, self._ask)

    def _report(self) -> None:
        now = time.monotonic()
        blocks, worst = [], 0.0
        for stream in self._streams.values():
            fraction = stream.interval_loss()
            worst = max(worst, fraction if stream.is_video else 0.0)
            delay = int((now - stream.last_sr_at) * 65_536) if stream.last_sr else 0
            lost = stream.expected - stream.received
            jitter = int(stream.jitter)
            blocks.append(
                rtcp.ReportBlock(self._ssrc, stream.ssrc, fraction, lost, stream.highest, jitter, stream.last_sr, delay)
            )
        packet = rtcp.receiver_report(self._ssrc, blocks)
        if self.options.remb:
            packet += rtcp.remb(
                self._ssrc, self._estimate(worst), [s.ssrc for s in self._streams.values() if s.is_video]
            )
        self._peer.send_rtcp(packet)
        self._later("report", 1.0, self._report)

    def _estimate(self, loss: float) -> int:
        """Loss-based: down to what arrives above 10 %, slowly up again below 2 %, never above ``options.remb``."""
        total = sum(stream.bytes for stream in self._streams.values())
        rate, self._reported_bytes = (total - self._reported_bytes) * 8, total
        if loss > 0.1:
            self._remb = max(50_000.0, 0.85 * rate)
        elif loss < 0.02:
            self._remb = min(float(self.options.remb), self._remb * 1.08)
        return int(self._remb)


__all__ = ["Meters", "Timeline", "Watcher", "WatcherOptions", "WatcherStats"]
