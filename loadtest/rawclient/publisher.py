"""A raw publisher: sends a clip in a loop through WHIP as an encoder would, paced, with SR, RTX and capture times.

Invariant: a frame's capture time is its place in the schedule (``epoch_ns`` + time in the loop), not the moment it was
sent. A publisher that is late shows up as latency instead of hiding it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from typing import Literal
from urllib.parse import urlsplit

import aiohttp

from loadtest import limits
from loadtest.rawclient import dtls, resource, rtcp, rtp, sdp
from loadtest.rawclient import payload as formats
from loadtest.rawclient.media import Clip, ClipFrame
from loadtest.rawclient.outgoing import Outgoing, PublisherStats, accepted_streams, offered_media
from loadtest.rawclient.peer import Peer, Unreachable

TICK = 0.005  # seconds between the bursts of a large frame
PACE_FLOOR = 5_000_000  # bit/s: a keyframe leaves no slower than that; otherwise 2.5 times the mean rate


class Publisher:
    """``await start()``, later ``await stop()``; ``lost`` is set with the reason when the server is gone.

    ``keyframes``: what a PLI does, ``"count"`` it only (the clip has a keyframe every 2 s) or ``"jump"`` to the next
    keyframe of the clip.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: str,
        token: str,
        clip: Clip,
        keyframes: Literal["count", "jump"] = "count",
    ) -> None:
        self.stats = PublisherStats()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.epoch_ns = 0
        self.clip = clip
        self._session, self._endpoint, self._token = session, endpoint, token
        self._jumping = keyframes == "jump"
        self._peer = Peer(self._ignore, self._feedback, self._on_lost)
        self._resource: resource.Resource | None = None
        self._streams: list[Outgoing] = []
        self._queue: deque[tuple[Outgoing, int, bool, bytes, int | None]] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._cname = secrets.token_hex(8)
        self._offered: dict[int, tuple[int, int | None]] = {}
        self._jumped_at = 0.0
        self._stopping = False
        self._origin_ns = 0  # origin of the RTP times, below every capture time

    # --- start and end ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """POST, connect, begin to send.

        :raises resource.Refusal: the server said no.
        :raises sdp.SdpError: its answer is unusable.
        :raises Unreachable: no connection.
        """
        try:
            await self._peer.open(urlsplit(self._endpoint).hostname or "")
            media = offered_media(self.clip)
            offer = sdp.build_offer(
                sdp.OfferSpec(
                    self._peer.ufrag, self._peer.pwd, dtls.fingerprint(), self._peer.hosts, media, self._cname
                )
            )
            self._resource = await resource.open_resource(self._session, self._endpoint, offer, self._token)
            answer = sdp.parse_answer(self._resource.answer)
            self._streams = accepted_streams(self.clip, media, answer)
            await self._peer.connect(answer)
        except BaseException:
            await self.stop()
            raise
        self.epoch_ns = self._origin_ns = time.time_ns()
        self._tasks = [asyncio.create_task(self._send_loop()), asyncio.create_task(self._report_loop())]
        for task in self._tasks:
            task.add_done_callback(self._crashed)

    async def stop(self) -> None:
        """BYE, DELETE, close. Idempotent."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        if self._streams and self._peer.srtp is not None:
            self._peer.send_rtcp(
                rtcp.receiver_report(self._streams[0].ssrc, []) + rtcp.bye([stream.ssrc for stream in self._streams])
            )
        opened, self._resource = self._resource, None
        if opened is not None:
            await resource.close_resource(self._session, opened, self._token)
        self._peer.close()

    def _crashed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_lost(f"{type(error).__name__}: {error}")

    def _on_lost(self, reason: str) -> None:
        for task in self._tasks:
            task.cancel()
        if not self.lost.done() and not self._stopping:
            self.lost.set_result(reason)

    @staticmethod
    def _ignore(_: bytes) -> None:
        """A server sends a publisher no media."""

    # --- sending ----------------------------------------------------------------------------------------------------

    async def _send_loop(self) -> None:
        burst = self._burst()
        while True:
            now = time.time_ns()
            due = min(self._emit(stream, now) for stream in self._streams)
            for _ in range(min(burst, len(self._queue))):
                self._send(*self._queue.popleft())
            wait = TICK if self._queue else max(0.0, (due - time.time_ns()) / 1e9)
            await asyncio.sleep(wait)

    def _burst(self) -> int:
        """Video packets per ``TICK``."""
        octets = sum(len(p) for track in self.clip.video for frame in track.frames for p in frame.payloads)
        rate = max(PACE_FLOOR, 2.5 * octets * 8e9 / self.clip.duration_ns)
        return max(1, round(rate * TICK / 8 / limits.MAX_RTP_PAYLOAD))

    def _emit(self, stream: Outgoing, now: int) -> int:
        """Queue the frames of ``stream`` that are due (audio goes out at once); gives the time of its next frame."""
        while (due := self.epoch_ns + stream.next_time(self.clip.duration_ns)) <= now:
            frame = stream.track.frames[stream.index]
            if now - due > limits.LATE_PUBLISHER_NS:
                self._skip(stream, now)
                continue
            self._packets(stream, frame, due)
            stream.advance()
        return due

    def _skip(self, stream: Outgoing, now: int) -> None:
        """Drop what is too late, to the next keyframe that is not."""
        while True:
            stream.advance()
            self.stats.skipped_frames += 1
            if not stream.track.frames[stream.index].key:
                continue
            if now - (self.epoch_ns + stream.next_time(self.clip.duration_ns)) < limits.LATE_PUBLISHER_NS // 2:
                return

    def _packets(self, stream: Outgoing, frame: ClipFrame, captured: int) -> None:
        timestamp = stream.first_timestamp + (captured - self._origin_ns) * stream.track.clock // 1_000_000_000
        timestamp &= 0xFFFFFFFF
        last = len(frame.payloads) - 1
        video = stream.track.codec != "opus"
        for place, data in enumerate(frame.payloads):
            if stream.track.codec == "VP8":
                data = formats.vp8_descriptor(place == 0, stream.picture) + data
            item = (stream, timestamp, video and place == last, data, captured if place == 0 else None)
            if video:
                self._queue.append(item)
            else:
                self._send(*item)
        stream.picture += 1
        if video:
            self.stats.frames += 1
            self.stats.keyframes += frame.key

    def _send(self, stream: Outgoing, timestamp: int, marker: bool, data: bytes, captured: int | None) -> None:
        ids = stream.extensions
        values = self._names(stream, ids, rtp.RID)
        if captured is not None and rtp.ABS_CAPTURE_TIME in ids:
            values.append((ids[rtp.ABS_CAPTURE_TIME], rtp.pack_capture_time(captured)))
        header = rtp.pack_header(
            stream.payload_type, stream.sequence, timestamp, stream.ssrc, marker, rtp.pack_extensions(values)
        )
        sealed = self._peer.send_rtp(header + data)
        if stream.track.codec != "opus":
            kept = data if stream.rtx is not None else sealed
            stream.history[stream.sequence % limits.HISTORY] = (stream.sequence, timestamp, marker, kept)
        stream.sequence = (stream.sequence + 1) & 0xFFFF
        stream.packets += 1
        stream.octets += len(data)
        self.stats.packets += 1
        self.stats.bytes += len(sealed)

    @staticmethod
    def _names(stream: Outgoing, ids: dict[str, int], rid: str) -> list[tuple[int, bytes]]:
        values = [(ids[rtp.MID], stream.mid.encode())] if rtp.MID in ids else []
        if stream.rid and rid in ids:
            values.append((ids[rid], stream.rid.encode()))
        return values

    async def _report_loop(self) -> None:
        while True:
            now = time.time_ns()
            for stream in self._streams:
                elapsed = (now - self._origin_ns) * stream.track.clock // 1_000_000_000
                report = rtcp.SenderReport(
                    stream.ssrc,
                    rtp.ntp(now),
                    (stream.first_timestamp + elapsed) & 0xFFFFFFFF,
                    stream.packets,
                    stream.octets,
                )
                self._peer.send_rtcp(rtcp.sender_report(report) + rtcp.sdes(stream.ssrc, self._cname))
            await asyncio.sleep(1.0)

    # --- feedback ---------------------------------------------------------------------------------------------------

    def _feedback(self, data: bytes) -> None:
        losses = []
        for item in rtcp.parse(data):
            if isinstance(item, rtcp.Nack):
                self._repair(item)
            elif isinstance(item, rtcp.KeyframeRequest):
                self.stats.keyframe_requests += 1
                if self._jumping:
                    self._jump()
            elif isinstance(item, rtcp.Remb):
                self.stats.remb = item.bitrate
            elif isinstance(item, rtcp.ReportBlock):
                losses.append(item.fraction)
                if item.last_sr:
                    middle = rtp.ntp(time.time_ns()) >> 16 & 0xFFFFFFFF
                    self.stats.rtt_ms = ((middle - item.last_sr - item.delay) & 0xFFFFFFFF) / 65.536
        if losses:
            self.stats.remote_loss = max(losses)

    def _repair(self, request: rtcp.Nack) -> None:
        stream = next((stream for stream in self._streams if stream.ssrc == request.ssrc), None)
        if stream is None:
            return
        for sequence in request.sequences:
            self.stats.nacked += 1
            kept = stream.history.get(sequence % limits.HISTORY)
            if kept is None or kept[0] != sequence:
                self.stats.not_in_history += 1
                continue
            self.stats.retransmitted += 1
            _, timestamp, marker, data = kept
            if stream.rtx is None:
                self._peer.send_sealed(data)
                continue
            ssrc, payload_type = stream.rtx
            names = self._names(stream, stream.extensions, rtp.REPAIRED_RID)
            header = rtp.pack_header(
                payload_type, stream.rtx_sequence, timestamp, ssrc, marker, rtp.pack_extensions(names)
            )
            self._peer.send_rtp(header + sequence.to_bytes(2, "big") + data)
            stream.rtx_sequence = (stream.rtx_sequence + 1) & 0xFFFF

    def _jump(self) -> None:
        """Move every stream to the clip's next keyframe, at most twice a second, and shift the epoch accordingly."""
        now = time.monotonic()
        video = [stream for stream in self._streams if stream.track.codec != "opus"]
        if now - self._jumped_at < 0.5 or any(s.track.frames[s.index].key for s in video):
            return
        self._jumped_at = now
        self.stats.keyframe_jumps += 1
        leader = video[-1]
        while not leader.track.frames[leader.index].key:
            leader.advance()
        place = leader.next_time(self.clip.duration_ns)
        for stream in self._streams:
            while stream.next_time(self.clip.duration_ns) < place:
                stream.advance()
        self.epoch_ns = time.time_ns() - place


__all__ = ["Publisher", "PublisherStats", "Unreachable"]
