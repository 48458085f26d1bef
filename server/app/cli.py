"""The command ``kongzhong``: names and help only; each subcommand lives in a file of its own, loaded when called."""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version

import click

from server.app.texts import say

COMMANDS = {
    "serve": "server.app.commands.serve",
    "demo": "server.app.commands.demo",
    "token": "server.app.commands.token",
    "lesson": "server.app.commands.lesson",
    "loadtest": "server.app.commands.loadtest",
    "bench": "server.app.commands.bench",
    "recover": "server.app.commands.recover",
    "config": "server.app.commands.config",
}


class LazyGroup(click.Group):
    """A token is printed without importing a media plane first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[name]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, say(name)) for name in COMMANDS])


def product_version() -> str:
    try:
        return version("kongzhong")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+source"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(product_version(), prog_name="kongzhong")
def main() -> None:
    """空中课堂 · a live remote classroom that an education bureau runs itself."""
