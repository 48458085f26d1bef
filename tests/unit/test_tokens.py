"""Tokens: what is taken, what is not, and the secret that several processes make at once."""

from __future__ import annotations

import base64
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from signaling.tokens import (
    SecretError,
    TokenExpired,
    TokenMalformed,
    TokenMissing,
    Tokens,
    load_or_make_secret,
)

SECRET = b"s" * 32
TOKENS = Tokens(SECRET)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"lesson": "l1", "role": "teacher", "seat": "t", "iat": now, "exp": now + 60, "jti": "j"}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(payload: dict[str, Any], secret: bytes = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(payload, secret, algorithm=algorithm)


def test_what_is_issued_is_verified() -> None:
    found = TOKENS.verify(TOKENS.issue("l1", "classroom", "第一小学 三(2)班"))
    assert (found.lesson, found.role, found.seat) == ("l1", "classroom", "第一小学 三(2)班")
    assert found.covers("l1")
    assert not found.covers("l2")


def test_a_token_without_a_seat_gets_one_of_its_own() -> None:
    seats = {TOKENS.verify(TOKENS.issue("l1", "classroom")).seat for _ in range(50)}
    assert len(seats) == 50


def test_every_lesson_is_for_ops_only() -> None:
    assert TOKENS.verify(TOKENS.issue("*", "ops")).covers("any")
    with pytest.raises(TokenMalformed):
        TOKENS.issue("*", "teacher")
    with pytest.raises(TokenMalformed):
        TOKENS.verify(signed(claims(lesson="*", role="classroom")))


def test_an_expired_token_is_told_apart() -> None:
    with pytest.raises(TokenExpired):
        TOKENS.verify(TOKENS.issue("l1", "teacher", ttl=-60))
    with pytest.raises(TokenMissing):
        TOKENS.verify("")


@pytest.mark.parametrize(
    "changes",
    [
        {"lesson": None},
        {"role": None},
        {"seat": None},
        {"iat": None},
        {"exp": None},
        {"jti": None},
        {"role": "admin"},
        {"role": ["teacher"]},
        {"lesson": 7},
        {"lesson": ""},
        {"lesson": "x" * 65},
        {"seat": ""},
        {"seat": "a\nb"},
        {"seat": "x" * 65},
        {"exp": "tomorrow"},
        {"exp": True},
        {"iat": 1.5},
        {"iat": int(time.time()) + 3600},
        {"exp": float("inf")},
    ],
)
def test_a_claim_that_is_missing_or_of_the_wrong_kind_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((TokenMalformed, TokenExpired)):
        TOKENS.verify(signed(claims(**changes)))


def _raw(header: dict[str, Any], payload: dict[str, Any], signature: str = "") -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part(header)}.{part(payload)}.{signature}"


@pytest.mark.parametrize(
    "token",
    [
        _raw({"alg": "none", "typ": "JWT"}, claims()),
        _raw({"alg": "None", "typ": "JWT"}, claims()),
        _raw({"alg": "HS256", "typ": "JWT"}, claims()),
        signed(claims(), b"o" * 32),
        signed(claims(), SECRET * 2, "HS512"),
        signed(claims(), SECRET * 2, "HS384"),
        signed(claims())[:-2],
        signed(claims()) + "A" * 5000,
        "a.b.c",
        "....",
        "\x00",
        "é" * 20,
        _raw({"alg": "HS256", "crit": ["x"], "x": 1}, claims(), "c2ln"),
    ],
)
def test_only_our_algorithm_and_our_signature_count(token: str) -> None:
    with pytest.raises(TokenMalformed):
        TOKENS.verify(token)


def test_a_payload_that_is_no_object_is_refused() -> None:
    good = signed(claims())
    header = good.split(".")[0]
    with pytest.raises(TokenMalformed):
        TOKENS.verify(f"{header}.{base64.urlsafe_b64encode(b'[1]').decode().rstrip('=')}.{good.split('.')[2]}")


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        Tokens(b"short")


def test_the_secret_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    data = tmp_path / "new" / "data"
    secret = load_or_make_secret(data)
    assert len(secret) == 32
    assert load_or_make_secret(data) == secret
    (path,) = data.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    load_or_make_secret(data)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_secret_that_is_too_short_is_an_error_and_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "token-secret").write_bytes(b"abc")
    with pytest.raises(SecretError, match="token-secret"):
        load_or_make_secret(tmp_path)
    assert (tmp_path / "token-secret").read_bytes() == b"abc"


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SecretError):
        load_or_make_secret(tmp_path / "file" / "data")


def _make(data: str, queue: Any) -> None:
    queue.put(load_or_make_secret(Path(data)))


def test_processes_that_start_at_once_agree_on_the_secret(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_make, args=(str(tmp_path / "data"), queue)) for _ in range(4)]
    for process in processes:
        process.start()
    secrets = {queue.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(60)
    assert len(secrets) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["token-secret"]
