"""Tokens: JWT (RFC 7519) signed with HS256 and nothing else, good for one lesson, one role, one seat, some hours.

The invariant: a token is taken only with our algorithm, our signature, every claim present and of its kind. What the
header says about algorithms or keys is never followed (RFC 8725, 3.1).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import Any, cast

import jwt
import msgspec

from signaling.limits import SEAT_CHARS, TOKEN_CHARS
from signaling.roles import EVERY_LESSON, ROLES, Role

ALGORITHM = "HS256"
LEEWAY = 5  # seconds of clock difference between the machines of one house
SECRET_BYTES = 32  # RFC 7518, 3.2: at least as long as the hash
SECRET_FILE = "token-secret"
_LESSON_CHARS = 64
_REQUIRED = ("lesson", "role", "seat", "iat", "exp", "jti")


class TokenError(ValueError):
    """This token is no good; ``code`` names the problem document."""

    code = "bad-token"


class TokenMissing(TokenError):
    code = "no-token"


class TokenMalformed(TokenError):
    """Not a JWT of ours: syntax, algorithm, signature, or a claim that is missing or of the wrong kind."""


class TokenExpired(TokenError):
    code = "expired-token"


class SecretError(OSError):
    """The secret file cannot be used."""


class Claims(msgspec.Struct, frozen=True):
    """What a verified token says. ``iat`` and ``exp`` are Unix seconds."""

    lesson: str
    role: Role
    seat: str
    iat: int
    exp: int
    jti: str

    def covers(self, lesson: str) -> bool:
        return self.lesson in (lesson, EVERY_LESSON)

    @property
    def everywhere(self) -> bool:
        return self.lesson == EVERY_LESSON


class Tokens:
    """Issues and verifies. Holds the secret; shows it to nobody."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"the token secret needs at least {SECRET_BYTES} bytes")
        self._secret = secret

    def issue(self, lesson: str, role: Role, seat: str | None = None, ttl: float = 12 * 3600) -> str:
        """A token for ``ttl`` seconds; without ``seat`` for a seat of its own.

        :raises ValueError: when lesson, role or seat could not be verified later.
        """
        now = int(time.time())
        claims: dict[str, Any] = {
            "lesson": lesson,
            "role": role,
            "seat": seat if seat is not None else secrets.token_hex(6),
            "iat": now,
            "exp": now + int(ttl),
            "jti": secrets.token_hex(8),
        }
        _claims(claims)
        return jwt.encode(claims, self._secret, algorithm=ALGORITHM)

    def verify(self, token: str) -> Claims:
        """
        :raises TokenMissing: it is empty
        :raises TokenExpired: its time is over
        :raises TokenMalformed: anything else
        """
        if not token:
            raise TokenMissing("no token")
        if len(token) > TOKEN_CHARS:
            raise TokenMalformed("longer than any token of ours")
        try:
            payload = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                leeway=LEEWAY,
                options={"require": list(_REQUIRED), "verify_aud": False},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired("expired") from error
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            raise TokenMalformed(type(error).__name__) from error
        return _claims(payload)


def _claims(payload: dict[str, Any]) -> Claims:
    lesson, role, seat, jti = (payload.get(name) for name in ("lesson", "role", "seat", "jti"))
    iat, exp = payload.get("iat"), payload.get("exp")
    if not _is_name(lesson, _LESSON_CHARS) or not _is_name(seat, SEAT_CHARS) or not _is_name(jti, 64):
        raise TokenMalformed("lesson, seat and jti must be short printable strings")
    if not isinstance(role, str) or role not in ROLES:
        raise TokenMalformed("unknown role")
    if lesson == EVERY_LESSON and role != "ops":
        raise TokenMalformed("only ops may have every lesson")
    # bool is an int to isinstance; JSON true is not a time.
    if type(iat) is not int or type(exp) is not int:
        raise TokenMalformed("iat and exp must be whole numbers")
    return Claims(
        lesson=cast(str, lesson), role=cast(Role, role), seat=cast(str, seat), iat=iat, exp=exp, jti=cast(str, jti)
    )


def _is_name(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable()


def load_or_make_secret(data: Path) -> bytes:
    """The secret of this data folder, made at the first call; the same for all processes that start at once.

    The file appears whole or not at all: it is written under another name and linked, and a link does not overwrite.

    :raises SecretError: the folder cannot be written, or the file is too short to be a secret.
    """
    path = data / SECRET_FILE
    try:
        data.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create(path)
        secret = path.read_bytes()
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
    except OSError as error:
        raise SecretError(f"{path}: {error.strerror or error}") from error
    if len(secret) < SECRET_BYTES:
        raise SecretError(f"{path}: has {len(secret)} bytes, needs {SECRET_BYTES}; delete it to make a new one")
    return secret


def _create(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        try:
            os.write(descriptor, secrets.token_bytes(SECRET_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with contextlib.suppress(FileExistsError):  # another process was first: its secret is the one
            os.link(draft, path)
    finally:
        draft.unlink()
