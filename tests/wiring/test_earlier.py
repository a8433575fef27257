"""What a step is told of the version that it replaces."""

import logging

import pytest

from tests.wiring.conftest import TinyCity, TinySteps
from tests.wiring.test_refetch import REFETCH, add_photo


def test_features_and_pairs_are_made_with_the_version_in_force_at_hand(
    city: TinyCity, steps: TinySteps
) -> None:
    city.run_all()
    assert set(steps.earlier.values()) == {None}
    box = min(city.boxes())
    fringes = [key for key in city.fringes() if box in key]
    names = [("box_features", box), ("box_matches", box), *(("fringe_matches", k) for k in fringes)]
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
    assert "Nothing is taken over for box_matches 0213" in caplog.text
    assert "'gone', which is not whole" in caplog.text
