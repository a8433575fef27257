"""What a step is told of the version that it replaces."""

import logging

import pytest

from citysplat_core.storage import StepReport
from citysplat_dagster.forebears import forebears
from tests.wiring.conftest import TinyCity, TinySteps
from tests.wiring.test_refetch import REFETCH, add_photo


def test_features_pairs_and_models_are_made_with_the_version_in_force_at_hand(
    city: TinyCity, steps: TinySteps
) -> None:
    city.run_all()
    assert set(steps.earlier.values()) == {None}
    box = min(city.boxes())
    fringes = [key for key in city.fringes() if box in key]
    names = [(asset, box) for asset in ("box_features", "box_matches", "sparse_model")]
    names += [("fringe_matches", key) for key in fringes]
    before = {name: city.resource().need(*name).path for name in names}
    steps.earlier.clear()
    add_photo(city, steps, box)
    assert city.run("discover_city", **REFETCH).success
    city.run_all()
    assert {name: steps.earlier[name] for name in names} == before
    assert all(city.resource().need(*name).path != path for name, path in before.items())


def test_a_version_that_is_not_whole_is_said_and_left_alone(
    city: TinyCity, caplog: pytest.LogCaptureFixture
) -> None:
    resource = city.resource()
    home = resource.store.home("box_matches", "0213")
    home.mkdir(parents=True)
    assert resource.earlier("box_matches", "0213") is None
    (home / "current").write_text("gone\n")
    with caplog.at_level(logging.WARNING, logger="citysplat_dagster"):
        assert resource.earlier("box_matches", "0213") is None
    assert "Nothing is taken over from box_matches 0213" in caplog.text
    assert "'gone', which is not whole" in caplog.text


NORTH, SOUTH = "12022112202102333330", "12022112202102333332"
WHOLE = NORTH[:-1]


def test_a_part_of_a_box_takes_over_what_the_whole_box_had(city: TinyCity) -> None:
    resource = city.resource()
    made = {
        name: resource.store.produce(
            name, WHOLE, step_version="1", settings={}, inputs={}, build=lambda _o, _w: StepReport()
        )
        for name in ("box_features", "box_matches")
    }  # fmt: skip
    assert resource.earlier("box_features", NORTH) == made["box_features"].path
    assert resource.earlier("box_matches", SOUTH) == made["box_matches"].path
    assert resource.earlier("fringe_matches", f"{NORTH}--{SOUTH}") == made["box_matches"].path
    assert resource.earlier("box_features", "12022112202102333340") is None


def test_the_nearest_version_is_looked_for_first() -> None:
    assert list(forebears("box_matches", NORTH))[:2] == [
        ("box_matches", NORTH), ("box_matches", WHOLE),
    ]  # fmt: skip
    found = list(forebears("fringe_matches", f"{WHOLE[:-1]}2--{WHOLE}00"))
    assert found[:3] == [
        ("fringe_matches", f"{WHOLE[:-1]}2--{WHOLE}00"),
        ("fringe_matches", f"{WHOLE[:-1]}2--{WHOLE}0"),
        ("fringe_matches", f"{WHOLE[:-1]}2--{WHOLE}"),
    ]
    assert found[3:] == [("box_matches", WHOLE[:n]) for n in range(18, 13, -1)]
