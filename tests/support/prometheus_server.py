"""A real Prometheus (Debian's package) of the test's own, that scrapes what it is told once a second."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.support.processes import free_tcp_port
from tests.support.waiting import eventually

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "kongzhong.rules.yml"


class PrometheusServer:
    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        """``targets``: address (``host:port``) by the name of the process."""
        self._folder = folder
        self._targets = targets
        self.url = f"http://127.0.0.1:{free_tcp_port()}"
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> PrometheusServer:
        self._folder.mkdir(parents=True, exist_ok=True)
        targets = [{"targets": [address], "labels": {"process": name}} for name, address in self._targets.items()]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "kongzhong", "static_configs": targets}],
        }
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                "prometheus",
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'tsdb'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                stdout=log,
                stderr=log,
            )
        await eventually(self._ready, "Prometheus is ready")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._process.terminate()
        await self._process.wait()

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """:raises AssertionError: with Prometheus' own words, when it cannot be evaluated"""
        url = f"{self.url}/api/v1/query"
        async with aiohttp.ClientSession() as http, http.get(url, params={"query": expression}) as response:
            found = await response.json()
        assert found["status"] == "success", f"{expression}: {found.get('error')}"
        result: list[dict[str, Any]] = found["data"]["result"]
        return result

    async def _ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as http, http.get(f"{self.url}/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False
