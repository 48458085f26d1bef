"""The relay port, the same whether the relay is in the process, behind Redis, or behind its direct line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.media.plane import TransportLost, TransportReady
from signaling.relay import ConnectionDown, ConnectionUp, Offer, Refused, RelayEvent
from tests.support import offers
from tests.support.relay_ports import ROADS, Reached, reached

pytestmark = pytest.mark.redis
PUBLISH = offers.offer(offers.audio("sendonly"), offers.video("sendonly"))
WATCH = offers.offer(offers.audio("recvonly"), offers.video("recvonly"))


@pytest.fixture(params=ROADS)
async def relay(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reached]:
    async with reached(request.param, tmp_path) as relay:
        yield relay


def watching(connection: str, sdp: str = WATCH, lesson: str = "lesson") -> Offer:
    return Offer(lesson, connection, "seat", sdp)


async def refusal(call: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_a_lesson_is_opened_twice_and_closed_twice_without_harm(relay: Reached) -> None:
    await relay.port.open_lesson("lesson", "分数的初步认识", None)
    await relay.port.open_lesson("lesson", "分数的初步认识", None)
    assert relay.node.stats().lessons == 1
    await relay.port.close_lesson("lesson")
    await relay.port.close_lesson("lesson")
    assert relay.node.stats().lessons == 0


async def test_publisher_and_watcher_get_answers_and_are_closed_by_name(relay: Reached) -> None:
    await relay.port.open_lesson("lesson", "title", None)
    published = await relay.port.publish(Offer("lesson", "c-1", "teacher", PUBLISH))
    watched = await relay.port.subscribe(watching("c-2"))
    assert published.sdp.startswith("v=0") and "a=recvonly" in published.sdp
    assert "a=sendonly" in watched.sdp and watched.etag
    assert relay.node.stats().connections == 2
    await relay.port.close("c-1")
    await relay.port.close("c-1")
    assert relay.node.stats().connections == 1


async def test_refusals_arrive_with_code_words_and_lists(relay: Reached) -> None:
    assert (await refusal(relay.port.subscribe(watching("c-1")))).code == "unknown-lesson"
    await relay.port.open_lesson("lesson", "title", None)
    assert (await refusal(relay.port.subscribe(watching("c-1", "not SDP")))).code == "not-sdp"
    assert (await refusal(relay.port.trickle("nobody", ""))).code == "unknown-connection"
    strange = PUBLISH.replace("VP8/90000", "H266/90000").replace("opus/48000", "speex/48000")
    refused = await refusal(relay.port.publish(Offer("lesson", "c-2", "teacher", strange)))
    assert refused.code == "no-common-codec"
    assert refused.detail
    assert set(refused.extra) == {"offered", "accepted"}
    assert "speex" in refused.extra["offered"] and "opus" in refused.extra["accepted"]


async def test_an_ice_restart_gives_new_credentials_and_a_new_etag(relay: Reached) -> None:
    await relay.port.open_lesson("lesson", "title", None)
    first = await relay.port.subscribe(watching("c-1"))
    fragment = (
        "a=ice-ufrag:another\r\na=ice-pwd:" + "anotherpwd" * 3 + "\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    )
    second = await relay.port.restart("c-1", fragment)
    assert second.etag != first.etag and "a=ice-ufrag:" in second.sdp
    assert (await refusal(relay.port.trickle("c-1", "a=ice-ufrag:wrong\r\na=ice-pwd:" + "w" * 24 + "\r\n"))).code


async def test_a_layer_wish_is_taken_or_refused(relay: Reached) -> None:
    await relay.port.open_lesson("lesson", "title", None)
    await relay.port.subscribe(watching("c-1"))
    await relay.port.choose_layer("c-1", None)
    assert (await refusal(relay.port.choose_layer("nobody", "h"))).code == "unknown-connection"


async def test_what_happens_at_the_relay_is_told_in_order(relay: Reached) -> None:
    events = relay.directory.all_events()
    await relay.port.open_lesson("lesson", "title", None)
    await relay.port.subscribe(watching("c-1"))
    await relay.port.subscribe(watching("c-2"))
    # The plane's own words, as peers that came and went would cause them; ids that mean nothing are passed over.
    for transport in range(1, 20):
        relay.plane.on_events([TransportReady(transport, 0)])
        relay.plane.on_events([TransportLost(transport, "consent", 0)])
    wanted = [
        ConnectionUp("lesson", "c-1"),
        ConnectionDown("lesson", "c-1", "consent"),
        ConnectionUp("lesson", "c-2"),
        ConnectionDown("lesson", "c-2", "consent"),
    ]
    assert await first(events, len(wanted)) == wanted


async def first(events: AsyncIterator[RelayEvent], count: int) -> list[RelayEvent]:
    async with asyncio.timeout(30):
        return [await anext(events) for _ in range(count)]


async def test_many_calls_at_once_all_get_their_own_answer(relay: Reached) -> None:
    await relay.port.open_lesson("lesson", "title", None)
    answers = await asyncio.gather(*(relay.port.subscribe(watching(f"c-{n}")) for n in range(60)))
    ufrags = {line for answer in answers for line in answer.sdp.splitlines() if line.startswith("a=ice-ufrag:")}
    assert len(ufrags) == 60
    assert relay.node.stats().connections == 60
