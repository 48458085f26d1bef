"""One reader of foreign bytes under libFuzzer (atheris): ``fuzz_target.py NAME CORPUS [libFuzzer options]``.

The corpus folder is filled with well-formed inputs first. An exception that the reader does not promise, a broken
promise about its result, a hang or a swollen memory ends the process with an error and leaves the input as an artifact.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import atheris

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # a script finds its own folder only

# Only the readers' own packages: their branches, not their libraries', are what coverage is to find.
with atheris.instrument_imports(include=["server.negotiation", "server.media.reference", "recorder"]):
    from aioice.stun import Class, Message, Method

    from recorder import depacketize, manifest, tap
    from recorder import rtp as recorded_rtp
    from recorder.reorder import Arrived
    from server.media.reference.forwarding import codecs, rtcp, rtp
    from server.media.reference.transport import stun
    from server.negotiation import sdp, trickle
    from server.negotiation.errors import NegotiationError
    from tests.support import offers

PASSWORD = b"a password of two dozens"
VIDEO = ("VP8", "H264")


class Target(NamedTuple):
    """``run`` raises nothing but ``allowed``; ``seeds`` are inputs that it takes."""

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    allowed: tuple[type[Exception], ...] = ()


def read_stun(data: bytes) -> None:
    if not stun.looks_like_stun(data):
        return
    request = stun.read_request(data)
    if request:
        assert stun.HEADER <= request.integrity_at < len(data)
        request.authentic(PASSWORD)
        stun.unknown_attributes(request.transaction, PASSWORD, request.not_understood)


def stun_seeds() -> list[bytes]:
    message = Message(Method.BINDING, Class.REQUEST, transaction_id=b"transaction!")
    message.attributes["USERNAME"] = "here:there"
    message.attributes["USE-CANDIDATE"] = None
    message.attributes["ICE-CONTROLLING"] = 7
    message.attributes["PRIORITY"] = 99
    message.add_message_integrity(PASSWORD)
    return [bytes(message)]


def read_rtp(data: bytes) -> None:
    header = rtp.parse(data, len(data))
    if header is None:
        return
    assert rtp.HEADER <= header.start <= header.end <= len(data)
    assert header.extensions_at <= header.extensions_end <= header.start
    rtp.read_extensions(data[header.extensions_at : header.extensions_end], header.profile)


def read_recorded_rtp(data: bytes) -> None:
    assert len(recorded_rtp.parse(data).payload) <= len(data) - 12


def rtp_seeds() -> list[bytes]:
    def packet(first: int, extensions: bytes, payload: bytes) -> bytes:
        return rtp.FIXED.pack(first, 0xE0, 7, 90_000, 0x1234) + extensions + payload

    short = rtp.build_extensions([(1, b"mid"), (3, b"\x01\x02\x03")])
    long = rtp.build_extensions([(1, b"a mid that is longer than sixteen"), (20, b"")])
    return [
        packet(0x80, b"", b"payload"),
        packet(0x90, short, b"payload"),
        packet(0x90, long, b"payload"),
        packet(0xB1, b"CSRC" + short, b"payload\0\0\3"),
    ]


def rtcp_seeds() -> list[bytes]:
    block = rtcp.ReportBlock(2, 3, -4, 5, 6, 7, 8)
    report = rtcp.sender_report(rtcp.SenderReport(1, 2, 3, 4, 5), [block])
    names = rtcp.source_description([(1, "cname")])
    return [
        report + names,
        rtcp.receiver_report(1, [block, block]) + rtcp.nack(1, 2, [3, 4, 9, 700]),
        rtcp.pli(1, 2) + rtcp.remb(1, 2_000_000, [2, 3]),
        rtcp.goodbye([1, 2]),
    ]


def answer_publisher(data: bytes) -> None:
    sdp.parse(offers.publish(data.decode(errors="replace")).sdp)


def answer_watcher(data: bytes) -> None:
    sdp.parse(offers.watch(data.decode(errors="replace")).sdp)


def sdp_seeds(*roles: str) -> list[bytes]:
    names = (name for name in offers.names() if name != "chromium-watch-av1-vp9-only")  # to be refused
    return [offers.load(name).encode() for name in names if any(role in name for role in roles)]


def fragment_seeds() -> list[bytes]:
    lines = (
        "a=group:BUNDLE 0",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "a=mid:0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=candidate:1 1 udp 2130706431 192.0.2.7 50000 typ host",
        "a=candidate:2 1 tcp 1518280447 2001:db8::7 9 typ host tcptype active",
        "a=end-of-candidates",
    )
    return ["".join(f"{line}\r\n" for line in lines).encode()]


def read_tap(data: bytes) -> None:
    """The first byte says where the rest is cut in two: the cut must not change what is read."""
    body = data[1:]
    cut = data[0] if data else 0
    assert _frames(body[:cut], body[cut:]) == _frames(body)


def _frames(*pieces: bytes) -> tuple[list[str], bool]:
    """The frames, and whether the stream was refused after them."""
    decoder = tap.Decoder()
    read: list[str] = []
    try:
        for piece in pieces:
            read += (repr(frame) for frame in decoder.feed(piece))  # as text: NaN is not equal to itself
    except tap.TapError:
        return read, True
    return read, False


def tap_seeds() -> list[bytes]:
    return [
        b"\x05" + tap.encode("hello", 1, b"") + tap.encode("open", "lesson", "title", 1),
        b"\x20" + tap.encode("track", "lesson", 1, "camera", "video", "VP8", 90_000, 0),
        b"\x10" + tap.encode("rtp", 1, [[5, rtp_seeds()[0]]]) + tap.encode("end", "lesson"),
    ]


def read_manifest(data: bytes) -> None:
    read = manifest.parse(data)
    if read is None:
        return
    assert read.length <= len(data)
    assert read.state and isinstance(read.end, int)
    read.track_ends()
    read.last_packets()
    again = manifest.parse(b"".join(map(manifest.encode, read.lines)))
    assert again and again.lines == read.lines and again.skipped == 0


def manifest_seeds() -> list[bytes]:
    gap = manifest.GapLine("camera", 5, 6, "lost")
    layout = (manifest.TrackLayout("camera", "VP8", 640, 480),)
    tracks = (manifest.TrackRange("camera", 0, 5, 3, (1, 2), (3, 4), 5),)
    part = manifest.Part("1.webm", "video/webm", 9, "00", 1, 5, 640, 480, "", (gap,))
    lines: list[manifest.Line] = [
        manifest.RecordingLine(1, "id", "lesson", "空中课堂", 1),
        manifest.SegmentLine("1.webm", "webm", layout, 100, 7),
        manifest.FragmentLine("1.webm", 100, 50, 7, 0, 5, (1, 6), tracks),
        gap,
        manifest.EndLine(6, 7),
        manifest.FinishedLine((part,)),
    ]
    return [b"".join(map(manifest.encode, lines))]


def payloads(data: bytes) -> Iterator[tuple[int, bytes]]:
    """One octet of flags and one of length before each payload."""
    at = 0
    while at + 2 <= len(data):
        end = at + 2 + data[at + 1]
        yield data[at], data[at + 2 : end]
        at = end


def depacketizer(codec: str) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        reader = depacketize.for_codec(codec, 2)
        timestamp = 0
        for sequence, (flags, payload) in enumerate(payloads(data)):
            timestamp += flags >> 2 & 1
            if flags & 2:
                reader.lost()
            packet = recorded_rtp.RtpPacket(sequence, timestamp, bool(flags & 1), payload)
            for unit in reader.push(Arrived(sequence, packet, sequence)):
                assert unit.data and unit.first <= unit.last <= sequence

    return run


def look(data: bytes) -> None:
    for codec in VIDEO:
        codecs.look(codec, data)


VP8_KEYFRAME = b"\x90\x80\x81\x02" + b"\x10\x02\x00\x9d\x01\x2a\x80\x02\xe0\x01" + b"partition"
H264_PARAMETERS = b"\x78" + b"".join(
    len(unit).to_bytes(2, "big") + unit
    for unit in (bytes.fromhex("6742c01eda0280f684000003000400000300f23c58ba80"), bytes.fromhex("68ce3c80"))
)
H264_PICTURE = (b"\x7c\x85\x88\x84", b"\x7c\x45picture")


def _packed(*sent: tuple[int, bytes]) -> list[bytes]:
    return [b"".join(bytes((flags, len(payload))) + payload for flags, payload in sent)]


def vp8_seeds() -> list[bytes]:
    return _packed((0, VP8_KEYFRAME), (1, b"\x80\x80\x01rest"), (5, b"\x90\x80\x02\x01delta"))


def h264_seeds() -> list[bytes]:
    return _packed((0, H264_PARAMETERS), (0, H264_PICTURE[0]), (1, H264_PICTURE[1]), (5, b"\x41\x9adelta"))


TARGETS = {
    "stun": Target(read_stun, stun_seeds),
    "rtp": Target(read_rtp, rtp_seeds),
    "rtcp": Target(rtcp.parse, rtcp_seeds),
    "sdp": Target(lambda data: sdp.parse(data.decode(errors="replace")), lambda: sdp_seeds(""), (NegotiationError,)),
    "answer-publisher": Target(answer_publisher, lambda: sdp_seeds("publish", "sendrecv"), (NegotiationError,)),
    "answer-watcher": Target(answer_watcher, lambda: sdp_seeds("watch", "sendrecv"), (NegotiationError,)),
    "fragment": Target(
        lambda data: trickle.parse_fragment(data.decode(errors="replace")), fragment_seeds, (NegotiationError,)
    ),
    "keyframe": Target(look, lambda: [VP8_KEYFRAME, H264_PARAMETERS, *H264_PICTURE]),
    "tap": Target(read_tap, tap_seeds),
    "recorded-rtp": Target(read_recorded_rtp, rtp_seeds, (ValueError,)),
    "manifest": Target(read_manifest, manifest_seeds),
    "depacketize-vp8": Target(depacketizer("VP8"), vp8_seeds),
    "depacketize-h264": Target(depacketizer("H264"), h264_seeds),
    "depacketize-opus": Target(depacketizer("opus"), lambda: _packed((1, b"\x78opus"), (5, b"\xfb\x03" + bytes(9)))),
}


def main() -> None:
    program, name, corpus, *options = sys.argv
    target = TARGETS[name]
    for number, seed in enumerate(target.seeds()):
        target.run(seed)  # not ``once``: a seed that is refused would steer nothing
        (Path(corpus) / f"seed-{number}").write_bytes(seed)

    def once(data: bytes) -> None:
        with contextlib.suppress(*target.allowed):
            target.run(data)

    atheris.Setup([program, corpus, *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
