"""The settings as click options, made from their definition; and the one way in which a command ends badly."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import click

from server.app.config import all_fields
from server.app.sources import ConfigError, Loaded, load
from server.app.texts import pick, say

BAD_START = 2
"""Exit code of a command that could not start for a reason its caller can mend."""


def settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the named settings (all, without names) and ``--config``; it receives them as ``loaded``."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def with_settings(config: str | None, **given: Any) -> None:
            flags = {name: given.pop(name) for name in chosen}
            command(loaded=load_or_die(flags, config), **given)

        chosen = names or tuple(all_fields())
        wrapped: Callable[..., None] = with_settings
        for name in reversed(chosen):
            field = all_fields()[name]
            wrapped = click.option(
                field.flag,
                name,
                multiple=field.repeatable,
                metavar="|".join(field.choices) or field.setting.metavar,
                help=f"{pick(field.setting.help)}  [{field.shown(field.default)}]",
            )(wrapped)
        return click.option("--config", metavar="FILE", help=say("config.file"))(wrapped)

    return decorate


def load_or_die(flags: dict[str, Any], config: str | None) -> Loaded:
    try:
        return load(flags, os.environ, config)
    except ConfigError as error:
        die(str(error))


def die(reason: str) -> NoReturn:
    """One line on stderr and exit code 2, for what a person can mend."""
    print(f"kongzhong: {' '.join(reason.split())}", file=sys.stderr)
    raise SystemExit(BAD_START)
