"""The house: arrows go one way, and the core knows only itself and is read in one sitting."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tiny import ROOT

PACKAGE = ROOT / "clip_unlearn"
# Each room may import from those on the floors below it. The set-up check stands beside the rooms.
FLOORS = (
    {"core"},
    {"models"},
    {"images"},
    {"measure"},
    {"report", "audit", "baselines"},
    {"lessons", "cli"},
)
READ_IN_ONE_SITTING = (
    "concepts",
    "synthesis",
    "prototypes",
    "nullspace",
    "calibrated",
    "edit",
)
MODULES = sorted(path for path in PACKAGE.glob("*/*.py"))


def room_of(module: Path) -> str:
    return module.parent.name


def floor_of(room: str) -> int:
    return next(floor for floor, rooms in enumerate(FLOORS) if room in rooms)


def rooms_imported(module: Path) -> set[str]:
    """The other rooms of the package that a module imports from, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 2:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            rooms |= {name.split(".")[0] for name in names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("clip_unlearn"):
            rooms.add(node.module.removeprefix("clip_unlearn").lstrip(".").split(".")[0])
        elif isinstance(node, ast.Import):
            rooms |= {a.name for a in node.names if a.name.startswith("clip_unlearn")}
    return rooms - {room_of(module)}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_every_folder_is_a_room_on_a_floor() -> None:
    folders = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").is_file()}
    assert folders == set().union(*FLOORS)


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m) == "core"], ids=name_of)
def test_the_core_imports_nothing_of_ours_outside_itself(module: Path) -> None:
    assert rooms_imported(module) == set()


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_arrows_go_one_way(module: Path) -> None:
    """To a lower floor. The version number, in the package itself, belongs to everybody."""
    own = floor_of(room_of(module))
    for room in rooms_imported(module) - {"__version__"}:
        assert floor_of(room) < own, f"{name_of(module)} imports from {room}"


def test_the_core_is_read_in_one_sitting() -> None:
    lines = {
        name: len((PACKAGE / "core" / f"{name}.py").read_text().splitlines())
        for name in READ_IN_ONE_SITTING
    }
    assert sum(lines.values()) < 1200, lines


@pytest.mark.parametrize("room", sorted(set().union(*FLOORS)))
def test_a_room_has_at_most_nine_names_and_tests_of_its_own(room: str) -> None:
    modules = [m for m in MODULES if room_of(m) == room and m.stem != "__init__"]
    assert len(modules) <= 9
    assert list((ROOT / "tests" / room).glob("test_*.py"))
