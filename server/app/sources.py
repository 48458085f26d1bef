"""Where settings come from: flag before environment before file before default, each value with its origin."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from server.app.config import Config, Field, all_fields

PREFIX = "KONGZHONG_"
CONFIG_VARIABLE = "KONGZHONG_CONFIG"
FILE_NAME = "kongzhong.toml"


class ConfigError(Exception):
    """A setting that cannot be: one line that names where it stands. The command ends with exit code 2."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The effective settings and, for each by name, its origin: ``flag``, ``env``, ``FILE:LINE`` or ``default``."""

    config: Config
    origins: Mapping[str, str]
    file: Path | None


@dataclass(frozen=True, slots=True)
class _Entry:
    value: Any
    line: int


def load(flags: Mapping[str, Any], environment: Mapping[str, str], config_file: str | None = None) -> Loaded:
    """Merge the sources. ``flags`` maps a field's name to text, or to a sequence of texts when repeatable.

    :raises ConfigError: an unknown key or variable, a wrong type, a value that cannot be.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(all_fields(), "default")
    for name, text in _from_environment(environment):
        values[name] = text
        origins[name] = "env"
    for name, given in flags.items():
        if given is None or given == ():
            continue
        values[name] = _parse_text(all_fields()[name], given, all_fields()[name].flag)
        origins[name] = "flag"
    file = _file_of(values, environment, config_file)
    if file is not None:
        for name, value, line in _from_file(file):
            if name == "data" and config_file is None and CONFIG_VARIABLE not in environment:
                raise ConfigError(f"{file}:{line}: data: the folder that holds this file cannot be set in it")
            if origins[name] == "default":
                values[name] = value
                origins[name] = f"{file}:{line}"
    config = Config(**values)
    _check_together(config)
    return Loaded(config, origins, file)


def _check_together(config: Config) -> None:
    if (config.tls_cert is None) != (config.tls_key is None):
        raise ConfigError("tls-cert and tls-key are given together or not at all")
    if config.tls == "auto" and config.tls_cert is not None:
        raise ConfigError("tls auto makes its own certificate: leave out tls-cert and tls-key")
    if config.role != "all" and config.redis is None:
        raise ConfigError(f"role {config.role} needs redis")
    if config.role == "all" and config.redis is not None:
        raise ConfigError("redis joins separate roles: give a role (signaling, relay, recorder), or leave out redis")


def _file_of(values: Mapping[str, Any], environment: Mapping[str, str], config_file: str | None) -> Path | None:
    named = config_file or environment.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    default = Path(values.get("data", all_fields()["data"].default)) / FILE_NAME
    try:
        return default if default.is_file() else None
    except OSError:
        return None  # a data folder that cannot be read is reported as such at the start


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    by_variable = {f.variable: f for f in all_fields().values()}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        field = by_variable.get(variable)
        if field is None:
            raise ConfigError(f"{variable}: unknown variable{_did_you_mean(variable, by_variable)}")
        given = text.split() if field.repeatable else text
        yield field.name, _parse_text(field, given, variable)


def _from_file(file: Path) -> Iterator[tuple[str, Any, int]]:
    by_key = {f.key: f for f in all_fields().values()}
    for key, entry in _entries(file).items():
        field = by_key.get(key)
        where = f"{file}:{entry.line}: {key}"
        if field is None:
            raise ConfigError(f"{file}:{entry.line}: unknown key {key!r}{_did_you_mean(key, by_key)}")
        value = _parse_text(field, _as_text(field, entry.value, where), where)
        if isinstance(value, Path) and not value.is_absolute():
            value = file.parent / value
        yield field.name, value, entry.line


def _as_text(field: Field, value: Any, where: str) -> Any:
    """A TOML value as the text a flag would have, once its type is the right one."""
    if field.repeatable:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise ConfigError(f"{where}: wanted a list of strings, got {_type_name(value)}")
        return value
    if field.kind == "number":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{where}: wanted a number, got {_type_name(value)}")
        return str(value)
    if not isinstance(value, str):
        raise ConfigError(f"{where}: wanted a string, got {_type_name(value)}")
    return value


def _parse_text(field: Field, given: Any, where: str) -> Any:
    try:
        if field.repeatable:
            return tuple(_parse_text(replace(field, repeatable=False), text, where) for text in given)
        return field.parse(given)
    except ValueError as error:
        got = "" if field.setting.show else f", got {given!r}"  # what has something to hide is not repeated
        raise ConfigError(f"{where}: {error}{got}") from error


def _entries(file: Path) -> dict[str, _Entry]:
    """The file's top-level keys, each with the line on which it stands.

    ``tomllib`` tells no lines. But every statement of TOML begins on a line of its own, so the shortest run of lines
    that parses is one statement, and its first line is where its keys stand.
    """
    try:
        text = file.read_text(encoding="utf-8")
        tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise ConfigError(f"{file}:{line[1] if line else 1}: not TOML: {error}") from error
    entries: dict[str, _Entry] = {}
    lines = text.splitlines(keepends=True)
    start = 0
    for end in range(1, len(lines) + 1):
        try:
            statement = tomllib.loads("".join(lines[start:end]))
        except tomllib.TOMLDecodeError:
            continue
        for key, value in statement.items():
            entries.setdefault(key, _Entry(value, start + 1))
        start = end
    return entries


def _did_you_mean(word: str, known: Mapping[str, Field]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _type_name(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a table"}
    return names.get(type(value), type(value).__name__)
