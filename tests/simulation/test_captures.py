import time
from itertools import pairwise

import numpy as np
import pytest

from citysplat_core.geography.sun import sun_elevation_deg
from citysplat_core.simulation import TownSettings, build_town, plan_captures


def test_the_same_seed_gives_the_same_captures(town, captures):
    again = plan_captures(build_town(town.settings))
    assert [c.image_id for c in again] == [c.image_id for c in captures]
    assert all((a.centre == b.centre).all() for a, b in zip(again, captures, strict=True))
    assert again[5].sequence == captures[5].sequence


def test_another_seed_gives_other_ids(town, captures):
    other = plan_captures(build_town(town.settings.model_copy(update={"seed": 12})))
    assert not {c.image_id for c in other} & {c.image_id for c in captures}


def test_rotations_look_forward_with_the_horizon_level(captures):
    for capture in captures:
        rotation = capture.rotation
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) > 0.99
        assert rotation[1, 2] < -0.95  # the camera's y points down
        assert abs(rotation[2, 2]) < 0.2


def test_forward_drives_look_where_they_go(captures):
    for capture in captures:
        if capture.sequence.kind == "drive":
            apart = (capture.heading_deg - capture.travel_heading_deg + 180) % 360 - 180
            assert abs(apart) < 8


def test_all_ways_of_taking_photos_occur(captures):
    kinds = {capture.sequence.kind for capture in captures}
    assert kinds == {"drive", "sideways", "walk"}
    assert len({capture.sequence.camera for capture in captures}) >= 3


def test_cameras_stand_at_eye_height_above_the_ground(captures):
    heights = np.array([capture.centre[2] for capture in captures])
    assert 1.0 < heights.min() < heights.max() < 2.2


def test_a_slope_lifts_the_cameras_with_the_ground():
    settings = TownSettings(n_photos=60, slope_east=0.05, turn_deg=0)
    centres = np.array([c.centre for c in plan_captures(build_town(settings))])
    height = centres[:, 2] - 0.05 * centres[:, 0]
    assert height.std() < 0.2
    assert np.ptp(centres[:, 2]) > 3


def test_time_runs_forward_in_a_sequence(captures):
    for before, after in pairwise(captures):
        if before.sequence is after.sequence:
            assert after.captured_at_ms > before.captured_at_ms


def test_twenty_thousand_photos_are_planned_in_seconds():
    start = time.process_time()
    captures = plan_captures(build_town(TownSettings(n_photos=20_000)))
    assert len({capture.image_id for capture in captures}) == 20_000
    assert time.process_time() - start < 20


@pytest.mark.parametrize("place", [(8.547, 47.369), (-122.4, 37.8), (18.4, -33.9)])
def test_photos_are_taken_by_day_or_at_dusk_wherever_the_town_is(place):
    settings = TownSettings(origin_lon=place[0], origin_lat=place[1])
    captures = plan_captures(build_town(settings))
    times = np.array([c.captured_at_ms for c in captures], float)
    lon, lat = (np.full(len(captures), value) for value in place)
    sun = sun_elevation_deg(times, lon, lat)
    is_dusk = np.array([c.sequence.is_dusk for c in captures])
    assert is_dusk.any()
    assert (sun[~is_dusk] > 0).all()
    assert (np.abs(sun[is_dusk] + 1.5) < 4).all()
