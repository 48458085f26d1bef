"""``kongzhong demo``: one whole lesson without a person; exit code 1 when anything is missing from it."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import av
import click

from server.app.texts import say


@click.command("demo", help=say("demo"))
@click.option("--seconds", type=click.IntRange(5, 3600), default=20, show_default=True, help=say("demo.seconds"))
def command(seconds: int) -> None:
    import uvloop

    from loadtest.rawclient.resource import Refusal
    from loadtest.rawclient.sdp import SdpError
    from loadtest.retry import Unreachable
    from server.app.demo.hold import hold_lesson
    from server.app.demo.report import show
    from server.app.demo.server import DemoError

    with tempfile.TemporaryDirectory(prefix="kongzhong-demo-") as data:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                outcome = runner.run(hold_lesson(Path(data), seconds))
        except (DemoError, Refusal, SdpError, Unreachable, OSError, av.FFmpegError) as error:
            print(f"kongzhong: {error}", file=sys.stderr)
            raise SystemExit(1) from error
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        raise SystemExit(0 if show(outcome) else 1)
