"""The Dockerfile, read and tried without Docker: its COPY and RUN steps in a folder, its user, its health check."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import free_tcp_port, free_udp_port

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@dataclass(frozen=True)
class Step:
    stage: int
    word: str
    rest: str


def steps() -> list[Step]:
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", " ", text)
    found: list[Step] = []
    stage = -1
    for line in filter(None, (line.strip() for line in text.splitlines())):
        word, _, rest = line.partition(" ")
        stage += word == "FROM"
        found.append(Step(stage, word, rest.strip()))
    return found


def of(word: str, stage: int | None = None) -> list[str]:
    return [step.rest for step in steps() if step.word == word and stage in (None, step.stage)]


def test_only_known_instructions_and_pinned_base_images() -> None:
    known = {"FROM", "RUN", "WORKDIR", "ENV", "COPY", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL"}
    assert {step.word for step in steps()} <= known | {"ENTRYPOINT", "CMD"}
    for image in of("FROM"):
        name, _, tag = image.split()[0].partition(":")
        assert name == "python" and re.fullmatch(r"3\.\d+-slim-\w+", tag), image


def test_the_last_stage_is_small_and_runs_without_privileges() -> None:
    last = steps()[-1].stage
    assert last == 1, "one stage builds, one runs"
    assert not any("pip" in run or "apt" in run for run in of("RUN", last))
    assert of("USER", last) == ["10001"]
    order = [step.word for step in steps() if step.stage == last]
    assert order.index("USER") < order.index("ENTRYPOINT")
    assert all(rest.startswith("--from=build") for rest in of("COPY", last))
    assert json.loads(of("ENTRYPOINT", last)[0]) == ["kongzhong"] and json.loads(of("CMD", last)[0]) == ["serve"]


def test_what_is_copied_is_there_and_let_through_by_the_ignore_file() -> None:
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert ignore[ignore.index("*")] == "*"
    for copy in of("COPY", 0):
        *sources, _target = copy.split()
        for source in sources:
            assert f"!{source}" in ignore
            if source != "README.md":  # named by pyproject.toml
                assert (ROOT / source).exists(), source


def test_every_package_of_the_project_is_copied() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    copied = {source for copy in of("COPY", 0) for source in copy.split()[:-1]}
    assert {package.split(".")[0] for package in packages} <= copied


def environment_of(stage: int) -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in of("ENV", stage) for pair in rest.split())


@pytest.mark.slow
def test_its_steps_give_a_kongzhong_that_serves_and_passes_its_health_check(tmp_path: Path) -> None:
    opt, src = tmp_path / "opt", tmp_path / "src"
    src.mkdir()
    for step in steps():
        if step.stage == 0 and step.word == "COPY":
            *sources, target = step.rest.split()
            for source in sources:
                into = src / target / Path(source).name if target.endswith(("/", "./")) else src / target
                into.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, src / target, ignore=shutil.ignore_patterns("__pycache__"))
                elif (ROOT / source).exists():
                    shutil.copy(ROOT / source, into)
                else:
                    into.write_text("")  # README.md, which only lends its text
        elif step.stage == 0 and step.word == "RUN":
            command = step.rest.replace("/opt/kongzhong", str(opt))
            command = command.replace("python -m venv", f"{sys._base_executable} -m venv")  # type: ignore[attr-defined]
            done = run(["sh", "-ec", command], cwd=src)
            assert done.returncode == 0, done.stderr[-2000:]
    http, media = free_tcp_port(), free_udp_port()
    env = {"HOME": str(tmp_path), "LANG": "C.UTF-8", **environment_of(1)}
    env |= {
        "PATH": f"{opt}/bin:{os.environ['PATH']}",
        "KONGZHONG_DATA": str(tmp_path / "data"),
        "KONGZHONG_HTTP": f"127.0.0.1:{http}",
        "KONGZHONG_MEDIA": f"127.0.0.1:{media}",
    }
    health = json.loads(of("HEALTHCHECK", 1)[0].partition("CMD ")[2])
    check = [f"{opt}/bin/python" if word == "python" else word.replace(":8080", f":{http}") for word in health]
    program = shutil.which("kongzhong", path=env["PATH"])
    assert program == str(opt / "bin" / "kongzhong")
    # Away from the repository: what runs is what was installed.
    process = subprocess.Popen([program, "serve"], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    try:
        assert any(run(check, env=env).returncode == 0 or time.sleep(0.2) for _ in range(100)), "never healthy"
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert run(check, env=env).returncode != 0


def run(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **more)
