"""Log lines: one line each, for people or for machines, and no secret in any of them."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from server.app.logs import AccessLog, JsonFormatter, TextFormatter, without_secrets

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJsZXNzb24iOiIqIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "signaling.shell", "levelno": logging.INFO, "levelname": "INFO"} | extra)
    made.msg, made.args = message, arguments
    return made


@pytest.mark.parametrize("secret", [TOKEN, f"Bearer {TOKEN}", "bearer abc.def"])
def test_tokens_are_cut_out_of_message_extras_and_traceback(secret: str) -> None:
    for formatter in (TextFormatter(), JsonFormatter()):
        assert secret not in formatter.format(record("refused %s", secret, header=secret))
        try:
            raise ValueError(f"bad {secret}")
        except ValueError:
            assert secret not in formatter.format(record("failed", exc_info=sys.exc_info()))


def test_a_password_in_a_url_is_cut_out() -> None:
    assert without_secrets("at redis://user:hunter2@redis.example:6379/0") == "at redis://[secret]@redis.example:6379/0"
    assert without_secrets("at redis://redis.example:6379/0") == "at redis://redis.example:6379/0"


def test_a_line_break_in_a_name_starts_no_new_line() -> None:
    assert "\n" not in TextFormatter().format(record("title %s", "数学\n12:00:00 ERROR forged"))


def test_json_lines_parse_and_carry_extras() -> None:
    entry = json.loads(JsonFormatter().format(record("joined %s", "三(2)班", lesson="abc")))
    assert entry["message"] == "joined 三(2)班"
    assert entry["level"] == "info" and entry["logger"] == "signaling.shell" and entry["lesson"] == "abc"
    assert entry["time"].endswith("Z")


async def test_the_access_log_tells_no_secret_and_leaves_out_who_only_looks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from aiohttp import ClientSession, web

    async def gone(request: web.Request) -> web.Response:
        return web.Response(status=404)

    async def figures(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/metrics", figures)
    app.router.add_delete("/whip/{lesson}/{secret}", gone)
    runner = web.AppRunner(app, access_log_class=AccessLog, access_log=logging.getLogger("access"))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    caplog.set_level(logging.DEBUG, "access")
    async with ClientSession() as client:
        host, port = runner.addresses[0][:2]
        async with client.delete(f"http://{host}:{port}/whip/lesson/hidden-secret?token={TOKEN}") as response:
            assert response.status == 404
        async with client.get(f"http://{host}:{port}/metrics") as response:
            assert response.status == 200
    await runner.cleanup()
    lines = [r.getMessage() for r in caplog.records if r.name == "access"]
    assert len(lines) == 1 and "DELETE /whip/lesson/" in lines[0] and " 404 " in lines[0]
    assert not any("hidden-secret" in line or TOKEN in line for line in lines)
