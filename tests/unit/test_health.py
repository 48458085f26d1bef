"""Liveness looks at the process alone; readiness names each thing it looked at and what it found."""

from __future__ import annotations

from aiohttp import ClientSession, web

from server.app.health import Check, Health


async def ask(health: Health, path: str) -> tuple[int, dict[str, object]]:
    app = web.Application()
    health.routes(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        async with ClientSession() as http, http.get(f"http://{host}:{port}{path}") as response:
            assert response.headers["Cache-Control"] == "no-store"
            return response.status, await response.json()
    finally:
        await runner.cleanup()


async def test_a_process_that_answers_lives_whatever_is_down_around_it() -> None:
    health = Health()
    health.add("redis", lambda: Check("down", "never reached"))
    assert await ask(health, "/healthz") == (200, {"status": "ok"})


async def test_readiness_is_the_worst_of_what_was_found() -> None:
    health = Health()
    health.add("plane", lambda: Check("ok", "udp port 8189"))
    assert (await ask(health, "/readyz"))[0] == 200
    health.add("recorder", lambda: Check("degraded", "no recorder"))
    status, body = await ask(health, "/readyz")
    assert (status, body["status"]) == (200, "degraded"), "a lesson runs without a recorder"
    health.add("class", lambda: Check("down", "the lesson store does not answer"))
    status, body = await ask(health, "/readyz")
    assert (status, body["status"]) == (503, "down")
    assert body["checks"] == {
        "plane": {"status": "ok", "detail": "udp port 8189"},
        "recorder": {"status": "degraded", "detail": "no recorder"},
        "class": {"status": "down", "detail": "the lesson store does not answer"},
    }
