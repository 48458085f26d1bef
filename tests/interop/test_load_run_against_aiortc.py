"""A whole load run, the virtual teacher and the virtual classroom against a server that is not ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiortc.contrib.media import MediaRelay
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from click.testing import CliRunner

from loadtest.classroom import VirtualClassroom
from loadtest.command import loadtest
from loadtest.rawclient.resource import Refusal
from loadtest.report import Report
from loadtest.run import LoadOptions, run
from loadtest.teacher import VirtualTeacher
from tests.support.aiortc_endpoint import AiortcEndpoint
from tests.support.waiting import until


def tracks() -> Callable[[], list[Any]]:
    relay, sources = MediaRelay(), (AudioStreamTrack(), VideoStreamTrack())
    return lambda: [relay.subscribe(source) for source in sources]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_run_reports_what_every_classroom_got(workers: int, tmp_path: Path) -> None:
    async with AiortcEndpoint(make_tracks=tracks()) as endpoint:
        options = LoadOptions(
            whip=f"{endpoint.url}/whip/1",
            whep=f"{endpoint.url}/whep/1",
            classrooms=3,
            seconds=5,
            ramp=0.5,
            out=tmp_path,
            workers=workers,
        )
        seen = []
        report = await run(options, lambda point, sent: seen.append((point, sent)))
        assert endpoint.counts["deleted"] == 4
    assert report.errors == {}
    assert report.totals["with_picture"] == 3
    assert report.first_picture_ms.never == 0
    assert report.sent is not None and report.sent.frames > 30
    assert report.totals["packets"] > 3 * 50
    assert report.totals["forged"] == 0
    assert "no-latency" in dict(report.remarks)  # aiortc encodes anew and knows no abs-capture-time
    assert seen and seen[-1][0].generator_cpu is not None
    written = msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Report)
    assert written.totals == report.totals
    assert (tmp_path / "report.html").stat().st_size > 5_000


async def test_refused_classrooms_are_a_result_not_a_crash() -> None:
    async with AiortcEndpoint(token="right") as endpoint:
        report = await run(LoadOptions(whep=f"{endpoint.url}/whep/1", classrooms=4, seconds=1.5, tokens=("wrong",)))
    assert report.totals["failed"] == 4
    assert report.errors == {"401 wrong token": 4}
    assert not report.whole


async def test_a_refused_publisher_ends_the_run() -> None:
    async with AiortcEndpoint(token="right") as endpoint:
        with pytest.raises(Refusal, match="wrong token"):
            await run(LoadOptions(whip=f"{endpoint.url}/whip/1", whip_token="wrong", seconds=1))


async def test_a_classroom_comes_back_after_the_server_dropped_it() -> None:
    async with (
        AiortcEndpoint(make_tracks=tracks()) as endpoint,
        VirtualClassroom(f"{endpoint.url}/whep/1") as classroom,
    ):
        await until(lambda: classroom.stats().first_frame_ms is not None and classroom.stats().state == "watching")
        first = classroom.stats()
        assert (first.state, first.reconnects, first.width) == ("watching", 0, 640)
        (peer,) = endpoint.peers.values()
        await peer.close()
        await until(lambda: classroom.stats().reconnects == 1 and classroom.stats().state == "watching")
        later = classroom.stats()
        assert later.packets > first.packets
        assert later.first_frame_ms == first.first_frame_ms
        assert later.error == ""
    assert classroom.stats().state == "stopped"


async def test_a_teacher_comes_back_after_the_server_dropped_it() -> None:
    async with AiortcEndpoint() as endpoint, VirtualTeacher(f"{endpoint.url}/whip/1") as teacher:
        await until(lambda: endpoint.counts["video"] > 3)
        (peer,) = endpoint.peers.values()
        await peer.close()
        await until(lambda: teacher.stats().reconnects == 1)
        frames = endpoint.counts["video"]
        await until(lambda: endpoint.counts["video"] > frames + 3)
        assert teacher.stats().state == "live"


async def test_a_refused_classroom_says_why_and_goes_on_trying() -> None:
    async with AiortcEndpoint(token="t") as endpoint, VirtualClassroom(f"{endpoint.url}/whep/1", "wrong") as classroom:
        await until(lambda: bool(classroom.stats().error))
        assert "wrong token" in classroom.stats().error
        assert classroom.stats().state == "connecting"


@pytest.mark.parametrize(
    "arguments",
    [[], ["--whep", "not a url"], ["--whip", "http://127.0.0.1:9/x"], ["--whep", "http://h/x", "--classrooms", "0"]],
)
def test_the_command_ends_with_two_when_it_cannot_run(arguments: list[str]) -> None:
    result = CliRunner().invoke(loadtest, [*arguments, "--seconds", "1", "--language", "en"])
    assert result.exit_code == 2
    assert result.output.strip()
