"""The offers under tests/vectors/sdp, small hand-made ones, and answering them with fixed values."""

from __future__ import annotations

import itertools
from pathlib import Path

from server.negotiation.answer import Local, PublisherAnswer, WatcherAnswer, answer_publisher, answer_watcher

FOLDER = Path(__file__).parent.parent / "vectors" / "sdp"
FINGERPRINT = ":".join(["AB"] * 32)
LOCAL = Local("ourufrag", "ourpwd" * 4, FINGERPRINT, (("192.0.2.1", 5004), ("2001:db8::1", 5004)), 42)
THEIRS = ":".join(["CD"] * 32)

HEAD = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0"]
TRANSPORT = [
    "a=ice-ufrag:theirs",
    "a=ice-pwd:" + "theirpwd" * 4,
    f"a=fingerprint:sha-256 {THEIRS}",
    "a=setup:actpass",
    "a=rtcp-mux",
]
OPUS = ["a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1"]
VP8 = ["a=rtpmap:96 VP8/90000", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96"]


def load(name: str) -> str:
    return (FOLDER / f"{name}.sdp").read_bytes().decode()


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.sdp"))


def audio(direction: str, *more: str, mid: str = "0") -> list[str]:
    return ["m=audio 9 UDP/TLS/RTP/SAVPF 111", f"a=mid:{mid}", f"a={direction}", *TRANSPORT, *OPUS, *more]


def video(direction: str, *more: str, mid: str = "1") -> list[str]:
    return ["m=video 9 UDP/TLS/RTP/SAVPF 96 97", f"a=mid:{mid}", f"a={direction}", *TRANSPORT, *VP8, *more]


def offer(*sections: list[str], session: tuple[str, ...] = ("a=group:BUNDLE 0 1",)) -> str:
    lines = [*HEAD, *session, *itertools.chain.from_iterable(sections)]
    return "".join(line + "\r\n" for line in lines)


def publish(sdp: str) -> PublisherAnswer:
    ids = itertools.count(100)
    return answer_publisher(sdp, LOCAL, transport=1, new_id=lambda: next(ids))


def watch(sdp: str) -> WatcherAnswer:
    ids, ssrcs = itertools.count(100), itertools.count(7001)
    return answer_watcher(
        sdp, LOCAL, transport=1, new_id=lambda: next(ids), new_ssrc=lambda: next(ssrcs), cname="lesson"
    )
