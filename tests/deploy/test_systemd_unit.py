"""The systemd unit: verified by systemd itself, and in step with how the process starts and stops."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from server.app.limits import STOP_ALL
from server.app.options import BAD_START

UNIT = Path(__file__).parents[2] / "deploy" / "kongzhong.service"


def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=True, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser["Service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    program = tmp_path / "kongzhong"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "kongzhong.service"
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/kongzhong/bin/kongzhong", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "kongzhong" in line]
    assert complaints == [] and done.returncode == 0, done.stderr


def test_it_waits_for_the_start_and_gives_the_stop_its_time() -> None:
    found = service()
    assert found["Type"] == "notify"
    assert int(found["TimeoutStopSec"]) > STOP_ALL
    assert found["KillMode"] == "mixed"
    assert found["RestartPreventExitStatus"] == str(BAD_START)


def test_it_has_no_privilege() -> None:
    found = service()
    assert found["User"] not in ("", "root")
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == ""
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "LockPersonality"):
        assert found[name] == "yes"
    assert found["ProtectSystem"] == "strict"
