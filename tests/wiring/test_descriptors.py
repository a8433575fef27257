"""When a box's descriptors are dropped, and that a later matching gets them back."""

from pathlib import Path

import pytest

from citysplat_core.features import DROPPED
from citysplat_core.storage import read_json, write_json
from citysplat_dagster import descriptors
from tests.wiring.conftest import TinyCity, TinySteps


def write_settings(city: TinyCity, text: str) -> None:
    file = city.root / "city.toml"
    file.write_text(f"{file.read_text()}\n{text}\n")


@pytest.fixture
def dropped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which boxes are dropped, and mark them as the real step does."""
    seen: list[str] = []

    def drop(folder: Path) -> None:
        manifest = read_json(folder / "manifest.json")
        if DROPPED not in manifest["counts"]:
            seen.append(folder.parent.name)
            manifest["counts"][DROPPED] = 1
            write_json(folder / "manifest.json", manifest)

    monkeypatch.setattr(descriptors, "drop_descriptors", drop)
    return seen


def match_all(city: TinyCity) -> None:
    assert city.run("discover_city").success
    for box in city.boxes():
        assert city.run("prepare_box", box).success
    for fringe in city.fringes():
        assert city.run("match_fringe", fringe).success


def test_descriptors_stay_by_default(city: TinyCity, dropped: list[str]) -> None:
    match_all(city)
    assert dropped == []


def test_they_are_dropped_once_a_box_and_its_fringes_are_matched(
    city: TinyCity, dropped: list[str]
) -> None:
    write_settings(city, "[features]\nkeep_descriptors = false")
    assert city.run("discover_city").success
    for box in city.boxes():
        assert city.run("prepare_box", box).success
    beside = {box for fringe in city.fringes() for box in fringe.split("--")}
    assert beside
    assert not beside & set(dropped)
    for fringe in city.fringes():
        assert city.run("match_fringe", fringe).success
    assert sorted(dropped) == sorted(city.boxes())


def test_a_later_matching_gets_them_back_and_nothing_else_is_remade(
    city: TinyCity, steps: TinySteps, dropped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(city, "[features]\nkeep_descriptors = false")
    match_all(city)
    assert sorted(dropped) == sorted(city.boxes())
    restored = []

    def restore(box: str, *, work: Path, **_: object) -> Path:
        restored.append(box)
        return work

    monkeypatch.setattr(descriptors, "restore_descriptors", restore)
    write_settings(city, "[matching]\nmin_inliers = 25")
    box = city.boxes()[0]
    assert city.run("prepare_box", box).success
    assert restored == [box]
    assert steps.ran("box_features") == sorted(city.boxes())
    assert steps.ran("box_matches").count(box) == 2
