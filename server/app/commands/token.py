"""``kongzhong token``: one token on stdout. Works beside a running server: both read the secret in the data folder."""

from __future__ import annotations

import typing
from pathlib import Path

import click

from server.app.folder import FolderError, bureau_secret, lessons_file
from server.app.options import die, settings
from server.app.sources import Loaded
from server.app.texts import say
from signaling.roles import EVERY_LESSON, Role
from signaling.store import LessonStore
from signaling.tokens import Tokens


@click.command("token", help=say("token"))
@click.option("--lesson", required=True, metavar="ID", help=say("token.lesson"))
@click.option("--role", required=True, type=click.Choice(typing.get_args(Role)), help=say("token.role"))
@click.option("--seat", metavar="NAME", help=say("token.seat"))
@click.option("--ttl", type=click.IntRange(1, 366 * 86_400), metavar="SECONDS", help=say("token.ttl"))
@settings("data", "secret_file", "token_ttl")
def command(loaded: Loaded, lesson: str, role: Role, seat: str | None, ttl: int | None) -> None:
    data = loaded.config.data
    if loaded.config.secret_file is None and not data.is_dir():
        die(f"data folder {data}: does not exist")  # a new secret there would sign for no server
    try:
        tokens = Tokens(bureau_secret(loaded.config))
        click.echo(tokens.issue(lesson, role, seat, ttl or loaded.config.token_ttl))
        if lesson != EVERY_LESSON and lessons_file(data).exists() and not _known(lessons_file(data), lesson):
            click.echo(f"kongzhong: {say('token.unknown').format(lesson=lesson)}", err=True)
    except (FolderError, ValueError) as error:
        die(str(error))


def _known(file: Path, lesson: str) -> bool:
    store = LessonStore(file)
    try:
        return store.get(lesson) is not None
    finally:
        store.close()
