"""``kongzhong lesson create|list|end``: create and list on the data folder itself, beside a running server or without
one; end by asking the running server, since the relay that forwards a lesson is the only authority for it."""

from __future__ import annotations

import datetime
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request

import click

from server.app.folder import FolderError, bureau_secret, lessons_file
from server.app.options import die, settings
from server.app.sources import Loaded
from server.app.texts import say
from signaling.store import LessonStore, StoreError
from signaling.tokens import Tokens


@click.group("lesson", help=say("lesson"))
def command() -> None:
    pass


@command.command("create", help=say("lesson.create"))
@click.option("--title", required=True, metavar="T", help=say("lesson.title"))
@settings("data")
def create(loaded: Loaded, title: str) -> None:
    store = _store(loaded)
    try:
        click.echo(store.create(title).id)
    except (ValueError, StoreError) as error:
        die(str(error))
    finally:
        store.close()


@command.command("list", help=say("lesson.list"))
@settings("data")
def list_lessons(loaded: Loaded) -> None:
    store = _store(loaded)
    try:
        for lesson in store.list():
            created = datetime.datetime.fromtimestamp(lesson.created_at).astimezone()
            click.echo(f"{lesson.id}\t{lesson.state}\t{created:%Y-%m-%d %H:%M}\t{lesson.title}")
    finally:
        store.close()


@command.command("end", help=say("lesson.end"))
@click.argument("lesson")
@settings("data", "http", "tls", "tls_cert", "tls_key", "secret_file")
def end(loaded: Loaded, lesson: str) -> None:
    config = loaded.config
    try:
        token = Tokens(bureau_secret(config)).issue(lesson, "ops", "command-line", 60)
    except (FolderError, ValueError) as error:
        die(str(error))
    request = urllib.request.Request(
        f"{config.base_url}/api/lessons/{urllib.parse.quote(lesson, safe='')}/end",
        method="POST",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept-Language": "en"},
        data=b"{}",
    )
    trust = ssl._create_unverified_context() if config.secure else None  # our own certificate, on this machine
    try:
        with urllib.request.urlopen(request, timeout=10, context=trust) as response:
            click.echo(json.load(response)["state"])
    except urllib.error.HTTPError as error:
        die(f"{config.base_url}: {_problem(error)}")
    except OSError as error:
        die(f"{config.base_url}: {getattr(error, 'reason', None) or error}")


def _problem(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"


def _store(loaded: Loaded) -> LessonStore:
    try:
        return LessonStore(lessons_file(loaded.config.data))
    except StoreError as error:
        die(str(error))
