"""The compose file: services that fit together, settings that exist, secrets that stay out of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.app.config import all_fields
from server.app.limits import STOP_ALL
from server.app.sources import load
from server.media.reference.limits import SOCKET_BUFFER

FOLDER = Path(__file__).parents[2] / "deploy"
TEXT = (FOLDER / "compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ROLES = ("signaling", "relay", "recorder")
VALUES = {"PUBLIC_IP": "203.0.113.7", "TURN_SECRET": "t" * 32, "GRAFANA_PASSWORD": "g"}


def filled(text: str) -> str:
    """With the variables that the README asks for; any other is an error."""
    return re.sub(r"\$\{(\w+):\?\}", lambda match: VALUES[match[1]], text)


def test_the_three_roles_and_all_that_goes_with_them_are_there() -> None:
    assert set(SERVICES) == {*ROLES, "redis", "prometheus", "grafana", "coturn"}


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_settings_are_accepted_by_the_command_itself(role: str) -> None:
    service = SERVICES[role]
    command = [filled(word) for word in service["command"]]
    assert command[0] == "serve"
    flags: dict[str, Any] = {}
    for flag, value in zip(command[1::2], command[2::2], strict=True):
        field = all_fields()[flag.removeprefix("--").replace("-", "_")]
        flags[field.name] = [value] if field.repeatable else value
    config = load(flags, {name: filled(value) for name, value in service["environment"].items()}).config
    assert config.role == role
    assert config.redis == "redis://redis:6379/0"
    assert str(config.secret_file) == "/run/secrets/bureau_secret"


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_no_privilege_and_time_to_stop(role: str) -> None:
    service = SERVICES[role]
    assert service["cap_drop"] == ["ALL"] and service["read_only"] is True
    assert "no-new-privileges:true" in service["security_opt"]
    assert int(service["stop_grace_period"].removesuffix("s")) > STOP_ALL


def test_signaling_and_recorder_share_the_folder_and_the_relay_needs_none_of_it() -> None:
    assert SERVICES["signaling"]["volumes"] == SERVICES["recorder"]["volumes"] == ["data:/data"]
    assert "data:/data" not in SERVICES["relay"]["volumes"]


def test_every_service_that_is_named_exists_and_every_file_that_is_mounted_too() -> None:
    for name, service in SERVICES.items():
        for other in service.get("depends_on", []):
            assert other in SERVICES, f"{name} needs {other}"
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert (FOLDER / source).is_dir() if source.startswith("./") else source in COMPOSE["volumes"], volume
        for secret in service.get("secrets", []):
            assert secret in COMPOSE["secrets"]
    hosts = {target.split(":")[0] for job in scraped() for target in job["targets"]}
    assert hosts == set(ROLES)


def scraped() -> list[dict[str, Any]]:
    config = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = config["scrape_configs"][0]["static_configs"]
    return found


def test_images_are_pinned_and_no_secret_is_written_down() -> None:
    for service in SERVICES.values():
        image = service["image"]
        assert image == "kongzhong" or re.search(r":v?\d", image), image
    assert set(re.findall(r"\$\{(\w+):\?\}", TEXT)) == set(VALUES)
    assert "$" not in re.sub(r"\$\{\w+:\?\}", "", TEXT), "a variable without :? starts with an empty value"


def test_secrets_are_files_because_the_containers_are_read_only() -> None:
    """Compose refuses a secret from the environment in a service whose root it cannot write to."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for secret in COMPOSE["secrets"].values():
        assert set(secret) == {"file"}
        assert f"> deploy/{secret['file'].removeprefix('./')}" in readme, "the README says how the file is made"


def test_the_sysctl_file_allows_the_buffers_that_a_relay_asks_for() -> None:
    lines = (FOLDER / "90-kongzhong.conf").read_text(encoding="utf-8").splitlines()
    settings = dict(line.split(" = ") for line in lines if not line.startswith("#"))
    assert settings == {"net.core.rmem_max": str(SOCKET_BUFFER), "net.core.wmem_max": str(SOCKET_BUFFER)}


def test_only_what_people_need_is_open_to_the_network() -> None:
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert ports["redis"] == ports["prometheus"] == ports["recorder"] == []
    assert ports["relay"] == ["8189:8189/udp"]
    assert all(port.startswith("127.0.0.1:") for port in ports["grafana"])
