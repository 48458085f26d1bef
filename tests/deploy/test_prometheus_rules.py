"""Prometheus' own tool on our configuration and alerts: they parse, each alert fires when it must, and not before."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's package prometheus")


def run(*arguments: str, folder: Path = FOLDER) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "kongzhong.rules.yml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


@promtool
def test_configuration_and_rules_parse() -> None:
    done = run("check", "config", "prometheus.yml")
    assert done.returncode == 0, done.stderr + done.stdout


@promtool
def test_alerts_fire_on_the_figures_they_are_for_and_stay_quiet_on_healthy_ones() -> None:
    done = run("test", "rules", "kongzhong.rules.test.yml")
    assert done.returncode == 0, done.stderr + done.stdout


@promtool
@pytest.mark.parametrize("name", alerts())
def test_without_an_alert_its_test_fails(name: str, tmp_path: Path) -> None:
    """So that every alert has a test that would notice its loss."""
    rules = yaml.safe_load((FOLDER / "kongzhong.rules.yml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert") != name]
    (tmp_path / "kongzhong.rules.yml").write_text(yaml.safe_dump(rules))
    shutil.copy(FOLDER / "kongzhong.rules.test.yml", tmp_path)
    done = run("test", "rules", "kongzhong.rules.test.yml", folder=tmp_path)
    assert done.returncode != 0, f"nothing tests the alert {name}"


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_happened_and_what_to_do(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"] and rule["annotations"]["description"]
