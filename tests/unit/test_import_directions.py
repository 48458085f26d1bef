"""The arrows of the design, read from the source: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSE = ("server", "signaling", "bureau", "recorder", "web", "loadtest")
PORTS = ("signaling.relay", "recorder.tap")

ALLOWED: dict[str, tuple[str, ...]] = {
    # room: what it may import of ours beside itself. The most particular room that holds a module counts.
    "server.app": HOUSE,
    "server.node": ("server.media", "server.negotiation", "server.quality", *PORTS),
    "server.bus": PORTS,
    "server.media": (),
    "server.negotiation": ("server.media.plane", "signaling.relay"),
    "server.quality": ("server.media.plane", *PORTS),
    "server": ("server.app.cli",),  # server/__main__.py
    "signaling": (),
    "bureau": (),
    "recorder": (),
    "web": (),
    "loadtest": (),
}


def modules() -> Iterator[tuple[str, Path]]:
    for top in HOUSE:
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(module: str, path: Path) -> Iterator[str]:
    """Every module of ours that a file imports."""
    return (name for name in every_import(module, path) if name.split(".")[0] in HOUSE)


def every_import(module: str, path: Path) -> Iterator[str]:
    """Wherever in the file: also in functions and under TYPE_CHECKING."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module) if part)
            names = [stem] + [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from names


def room_of(module: str) -> str:
    return max((room for room in ALLOWED if within(module, room)), key=len)


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def wrong_arrows(module: str, imported: str) -> bool:
    room = room_of(module)
    if within(imported, room) and room_of(imported) == room:
        return False
    return not any(within(imported, allowed) or within(allowed, imported) for allowed in ALLOWED[room])


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    wrong = {
        f"{module} imports {name}"
        for module, path in modules()
        if room_of(module) == room
        for name in imports(module, path)
        if wrong_arrows(module, name)
    }
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.parametrize(
    "path", [ROOT / "signaling/relay.py", ROOT / "recorder/tap.py", ROOT / "server/media/plane.py"]
)
def test_declared_ports_import_nothing_of_ours(path: Path) -> None:
    assert list(imports("port", path)) == []


def test_nothing_imports_the_application() -> None:
    outside = [(m, p) for m, p in modules() if not within(m, "server.app") and m != "server.__main__"]
    assert outside
    assert [m for m, p in outside if any(within(name, "server.app") for name in imports(m, p))] == []


def test_the_media_plane_has_no_circles_and_its_transport_knows_nothing_of_forwarding() -> None:
    """Types count as well: who needs the type of what it is needed by has not found its place yet."""
    known = {module: path for module, path in modules() if within(module, "server.media")}
    arrows = {module: {name for name in imports(module, path) if name in known} for module, path in known.items()}
    transport, forwarding = "server.media.reference.transport", "server.media.reference.forwarding"
    assert not [m for m, names in arrows.items() if within(m, transport) and any(within(n, forwarding) for n in names)]
    while leaves := [module for module, names in arrows.items() if not names & arrows.keys() - {module}]:
        for module in leaves:
            del arrows[module]
    assert not arrows, f"a circle among {sorted(arrows)}"


WITHIN_SIGNALING: dict[str, tuple[str, ...]] = {
    # part: what it must not know. Arrows run http -> runner -> core and websocket -> runner -> core.
    "signaling.core": (
        "signaling.store",
        "signaling.http",
        "signaling.websocket",
        "signaling.runner",
        "aiohttp",
        "asyncio",
        "sqlalchemy",
        "time",
    ),
    "signaling.runner": ("signaling.http", "signaling.websocket", "aiohttp"),
    "signaling.http": ("signaling.websocket",),
    "signaling.websocket": ("signaling.http",),
    "signaling.store": ("signaling.http", "signaling.websocket", "signaling.runner", "aiohttp"),
}


@pytest.mark.parametrize("part", WITHIN_SIGNALING)
def test_the_class_has_its_core_in_the_middle_and_its_shells_outside(part: str) -> None:
    files = [(module, path) for module, path in modules() if within(module, part)]
    assert files
    wrong = {
        f"{module} imports {name}"
        for module, path in files
        for name in every_import(module, path)
        if any(within(name, forbidden) for forbidden in WITHIN_SIGNALING[part])
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_the_core_of_the_class_drags_in_no_store_and_no_network() -> None:
    """Also by way of others."""
    listing = "import sys, signaling.core.handle; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert "signaling.core.presence" in loaded
    assert not loaded & {"sqlalchemy", "aiohttp", "signaling.store", "signaling.runner", "signaling.http"}


def test_the_check_sees_a_wrong_arrow() -> None:
    assert wrong_arrows("signaling.service", "recorder.library")
    assert wrong_arrows("server.media.reference.plane", "signaling.relay")
    assert wrong_arrows("server.negotiation.sdp", "signaling.service")
    assert not wrong_arrows("server.node.node", "signaling.relay")
    assert not wrong_arrows("server.app.serve", "recorder.service")
