"""The direct line lets in nobody who does not know the secret, and nothing that was touched, repeated or reflected."""

from __future__ import annotations

import pytest

from server.bus.channel import Channel, ChannelError
from server.bus.limits import FRAME_MAX, GREETING_MAX

SECRET = b"s" * 32


def pair(caller_secret: bytes = SECRET, relay_secret: bytes = SECRET) -> tuple[Channel, Channel]:
    return Channel("caller", caller_secret), Channel("relay", relay_secret)


def sent(channel: Channel) -> bytes:
    data = bytes(channel.outgoing)
    channel.outgoing.clear()
    return data


def proved() -> tuple[Channel, Channel]:
    caller, relay = pair()
    assert list(caller.receive(relay.greeting())) == []
    assert list(relay.receive(sent(caller))) == []
    assert list(caller.receive(sent(relay))) == []
    assert caller.ready and relay.ready
    return caller, relay


def test_both_ends_prove_the_secret_and_talk_both_ways() -> None:
    caller, relay = proved()
    assert list(relay.receive(caller.seal(b"one") + caller.seal(b"two"))) == [b"one", b"two"]
    assert list(caller.receive(relay.seal(b""))) == [b""]


def test_bytes_may_come_one_at_a_time() -> None:
    caller, relay = proved()
    data = caller.seal(b"hello")
    assert [body for byte in data for body in relay.receive(bytes([byte]))] == [b"hello"]


def test_a_caller_with_another_secret_is_refused() -> None:
    caller, relay = pair(caller_secret=b"x" * 32)
    list(caller.receive(relay.greeting()))
    with pytest.raises(ChannelError, match="secret"):
        list(relay.receive(sent(caller)))
    assert not relay.ready


def test_a_relay_with_another_secret_is_refused_by_the_caller() -> None:
    caller, _ = pair()
    _, impostor = pair(caller_secret=SECRET, relay_secret=b"x" * 32)
    list(caller.receive(impostor.greeting()))
    sent(caller)
    forged = impostor._plain(impostor._proof("relay"))
    with pytest.raises(ChannelError, match="secret"):
        list(caller.receive(forged))


def test_a_proof_reflected_by_a_false_relay_does_not_count() -> None:
    caller, relay = pair()
    list(caller.receive(relay.greeting()))
    proof = sent(caller)
    with pytest.raises(ChannelError):
        list(caller.receive(proof))


def test_a_recorded_proof_does_not_open_a_second_line() -> None:
    caller, relay = pair()
    list(caller.receive(relay.greeting()))
    recorded = sent(caller)
    list(relay.receive(recorded))
    another = Channel("relay", SECRET)
    another.greeting()
    with pytest.raises(ChannelError, match="secret"):
        list(another.receive(recorded))


def test_touched_repeated_and_skipping_frames_are_refused() -> None:
    def touched(caller: Channel) -> bytes:
        frame = caller.seal(b"one")
        return frame[:-1] + bytes([frame[-1] ^ 1])

    def repeated(caller: Channel) -> bytes:
        return caller.seal(b"one") * 2

    def skipping(caller: Channel) -> bytes:
        caller.seal(b"one")
        return caller.seal(b"two")

    for stream in (touched, repeated, skipping):
        caller, relay = proved()
        with pytest.raises(ChannelError, match="MAC"):
            list(relay.receive(stream(caller)))


def test_a_frame_reflected_to_its_sender_is_refused() -> None:
    caller, _ = proved()
    with pytest.raises(ChannelError, match="MAC"):
        list(caller.receive(caller.seal(b"one")))


@pytest.mark.parametrize("length", [0, GREETING_MAX + 1, FRAME_MAX + 1, 2**32 - 1])
def test_a_stranger_cannot_make_us_buffer(length: int) -> None:
    _, relay = pair()
    with pytest.raises(ChannelError, match="frame of"):
        list(relay.receive(length.to_bytes(4, "big")))


def test_nothing_is_sealed_before_the_proof_and_nothing_too_large_after_it() -> None:
    caller, _ = pair()
    with pytest.raises(ChannelError):
        caller.seal(b"early")
    caller, _ = proved()
    with pytest.raises(ChannelError):
        caller.seal(b"x" * FRAME_MAX)
