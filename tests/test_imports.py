"""The rules of the house, read from the sources: who may import whom, how long a file may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
CORE = REPOSITORY / "citysplat_core"
WIRING = REPOSITORY / "citysplat_dagster"

# A room may import rooms of a lower number, and itself.
RANK = {
    "errors": 0,
    "storage": 1,
    "geography": 2,
    "settings": 2,  # a city file holds an area and a frame; the plan step reads settings
    "simulation": 3,
    "imagery": 3,
    "features": 4,
    "matching": 5,
    "mapping": 6,
    "splatting": 7,
    "city": 8,
    "cli": 9,
}
SAME_RANK_MAY_MEET = {("geography", "settings"), ("settings", "geography")}
IMAGERY = "citysplat_core.imagery."
SOURCES = sorted(p for root in (CORE, WIRING) for p in root.rglob("*.py"))
CORE_SOURCES = [p for p in SOURCES if p.is_relative_to(CORE)]


def name_of(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def imported_modules(path: Path) -> Iterator[str]:
    """Every module that a file imports, at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: imports are absolute here"
            yield node.module or ""


def room_of(module: str) -> str:
    """The room of a module of the core; empty for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", CORE_SOURCES, ids=name_of)
def test_the_core_never_imports_the_orchestrator(path):
    first = {module.split(".")[0] for module in imported_modules(path)}
    assert not {name for name in first if name.startswith(("dagster", "citysplat_dagster"))}


@pytest.mark.parametrize("path", CORE_SOURCES, ids=name_of)
def test_imports_run_one_way_through_the_rooms(path):
    here = path.relative_to(CORE).with_suffix("").parts[0]
    if here == "__init__":
        return
    assert here in RANK, f"a new room {here}: give it a place in RANK"
    for module in imported_modules(path):
        if module.split(".")[0] != "citysplat_core":
            continue
        there = room_of(module)
        allowed = there == here or RANK[there] < RANK[here] or (here, there) in SAME_RANK_MAY_MEET
        assert allowed, f"{name_of(path)} ({here}) must not import {module}"


def test_no_photo_service_imports_another_and_what_they_share_imports_none():
    imagery = CORE / "imagery"
    for here in ("mapillary", "panoramax", "services"):
        others = {"mapillary", "panoramax"} - {here}
        for path in (imagery / here).rglob("*.py"):
            rooms = {module.split(".")[2] for module in imported_modules(path) if IMAGERY in module}
            assert not rooms & others, f"{name_of(path)} must not import {rooms & others}"


def test_no_room_of_the_core_imports_the_simulation():
    guests = {
        name_of(path)
        for path in CORE_SOURCES
        for module in imported_modules(path)
        if module.startswith("citysplat_core.simulation")
        and not path.is_relative_to(CORE / "simulation")
    }
    assert guests <= {"citysplat_core/cli.py"}


@pytest.mark.parametrize("path", CORE_SOURCES, ids=name_of)
def test_the_core_prints_nothing_and_reads_no_environment(path):
    if path == CORE / "cli.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{name_of(path)}:{node.lineno} prints"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            reads = (node.value.id, node.attr) in {("os", "environ"), ("os", "getenv")}
            assert not reads, f"{name_of(path)}:{node.lineno} reads the environment"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_holds_one_idea(path):
    assert len(path.read_text().splitlines()) <= 400
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def test_assets_are_loaded_without_the_heavy_libraries():
    """Every code server and run worker pays for what the definitions import at the top."""
    heavy = {"torch", "pycolmap", "geopandas", "numba", "gsplat", "matplotlib"}
    for path in WIRING.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found = {name.split(".")[0] for name in names} & heavy
            assert not found, f"{name_of(path)} imports {sorted(found)} at the top"
