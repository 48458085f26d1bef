"""A whole server in a process of its own, on free ports: what demo and bench look at from outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from server.app.supervise import die_with

READY_WITHIN = 30.0
"""Seconds."""


class DemoError(Exception):
    """A step of the main job did not happen."""


@dataclass(frozen=True, slots=True)
class DemoServer:
    url: str
    pid: int


@contextlib.asynccontextmanager
async def serving(data: Path) -> AsyncIterator[DemoServer]:
    """``kongzhong serve`` in a process of its own, ready; stopped with SIGTERM."""
    http, media = _free_port(socket.SOCK_STREAM), _free_port(socket.SOCK_DGRAM)
    code = "import sys; from server.app.demo.server import serve_child; serve_child()"
    arguments = ["serve", "--data", str(data), "--http", f"127.0.0.1:{http}", "--media", f"127.0.0.1:{media}"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, str(os.getpid()), *arguments, "--log-level", "warning"),
        env={name: value for name, value in os.environ.items() if not name.startswith("KONGZHONG_")},
        start_new_session=True,
    )
    base = f"http://127.0.0.1:{http}"
    try:
        await _ready(base, process)
        yield DemoServer(base, process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def serve_child() -> None:
    """Entry of the server's process: it ends when whoever holds the demo does."""
    from server.app.cli import main

    die_with(int(sys.argv.pop(1)))
    main(prog_name="kongzhong")


async def _ready(base: str, process: asyncio.subprocess.Process) -> None:
    deadline = time.monotonic() + READY_WITHIN
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < deadline:
            if process.returncode is not None:
                raise DemoError(f"the server ended with exit code {process.returncode}")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{base}/readyz") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise DemoError("the server is not ready")


def _free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
