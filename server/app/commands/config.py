"""``kongzhong config``: every setting with its effective value, where it came from, and the promise behind it."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.app.config import all_fields
from server.app.options import settings
from server.app.sources import Loaded
from server.app.texts import pick, say


@click.command("config", help=say("config"))
@settings()
def command(loaded: Loaded) -> None:
    console = Console(soft_wrap=False)
    if not console.is_terminal:
        console = Console(width=4096)  # a pipe gets every row on one line, whatever the length of its paths
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("setting", "value", "origin"):
        table.add_column(say(f"config.{heading}"), overflow="fold")
    table.add_column(say("config.promise"))
    for field in all_fields().values():
        value = field.shown(getattr(loaded.config, field.name))
        setting = field.setting
        cells = (field.key, value, loaded.origins[field.name], pick(setting.promise) or pick(setting.help))
        table.add_row(*(Text(cell) for cell in cells))  # [::1]:8080 is an address, not markup
    console.print(table)
