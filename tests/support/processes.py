"""``kongzhong`` as a process, started as a person would start it, with what it said and how it ended."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp

from tests.support.waiting import LIMIT


def free_tcp_port() -> int:
    return _free(socket.SOCK_STREAM)


def free_udp_port() -> int:
    return _free(socket.SOCK_DGRAM)


def _free(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    """Ours without settings of whoever runs the tests."""
    return {k: v for k, v in os.environ.items() if not k.startswith("KONGZHONG_")} | {"LC_ALL": "C.UTF-8"}


def kongzhong(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=False)


class Serving:
    """``kongzhong serve`` with HTTP on a free port; ``async with`` waits until it is ready and stops it at the end."""

    def __init__(self, data: Path, *arguments: str, scheme: str = "http", wait_for: str = "/readyz") -> None:
        self.data = data
        self.port = free_tcp_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._wait_for = wait_for
        self._log = data.with_suffix(".log")
        self._command = [sys.executable, "-m", "server", "serve", "--data", str(data)]
        self._command += ["--http", f"127.0.0.1:{self.port}", *arguments]
        self.process: asyncio.subprocess.Process

    async def __aenter__(self) -> Serving:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command, env=environment(), stdout=log, stderr=log, start_new_session=True
            )
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as http:
            async with asyncio.timeout(LIMIT):
                while not await self._answers(http):
                    assert self.process.returncode is None, self.said()
                    await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.terminate()
        async with asyncio.timeout(LIMIT):
            return await self.process.wait()

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    async def _answers(self, http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get(self.url + self._wait_for) as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


async def json_of(http: aiohttp.ClientSession, url: str) -> dict[str, object]:
    async with http.get(url) as response:
        found: dict[str, object] = await response.json()
        return found
