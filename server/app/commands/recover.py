"""``kongzhong recover``: finish and list whatever a killed recorder left. Safe beside a running server."""

from __future__ import annotations

import click

from recorder.recover import recover
from server.app import logs
from server.app.folder import FolderError, prepare
from server.app.options import die, settings
from server.app.sources import Loaded
from server.app.texts import say


@click.command("recover", help=say("recover"))
@settings("data", "log_format", "log_level")
def command(loaded: Loaded) -> None:
    logs.set_up(loaded.config.log_format, loaded.config.log_level)
    try:
        prepare(loaded.config)
        report = recover(loaded.config.data)
    except (FolderError, OSError) as error:
        die(str(error))
    for what in ("finished", "listed", "busy", "empty"):
        for name in getattr(report, what):
            click.echo(f"{what}\t{name}")
    for name, reason in report.failed.items():
        click.echo(f"failed\t{name}\t{reason}")
    raise SystemExit(1 if report.failed else 0)
