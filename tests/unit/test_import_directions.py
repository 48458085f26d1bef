"""The arrows of the design, read from the source: who may import whom."""

from __future__ import annotations

import ast
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
    """Every module of ours that a file imports, wherever in it: also in functions and under TYPE_CHECKING."""
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
        yield from (name for name in names if name.split(".")[0] in HOUSE)


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


def test_the_check_sees_a_wrong_arrow() -> None:
    assert wrong_arrows("signaling.service", "recorder.library")
    assert wrong_arrows("server.media.reference.plane", "signaling.relay")
    assert wrong_arrows("server.negotiation.sdp", "signaling.service")
    assert not wrong_arrows("server.node.node", "signaling.relay")
    assert not wrong_arrows("server.app.serve", "recorder.service")
