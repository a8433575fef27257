import dataclasses

import numpy as np
import pytest

from citysplat_core.matching.pairs_plan import propose_pairs
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.standing import idle_photos, stays_of
from citysplat_core.settings import MatchingSettings

N_BEFORE, N_PARKED = 20, 100
NORTH = 0.0


def drive_with_a_stop(*, turn_deg: float = 0.0, compass: bool = True) -> Photos:
    """A photo a second: 20 on the way at 4 m/s, 100 parked with restless GPS, 20 on the way."""
    rng = np.random.default_rng(3)
    north = np.r_[np.arange(20) * 4.0, np.full(N_PARKED, 80.0), 84.0 + np.arange(20) * 4.0]
    place = np.c_[np.zeros(len(north)), north] + rng.normal(0, 0.1, (len(north), 2))
    heading = np.full(len(north), NORTH)
    heading[N_BEFORE + 50 : N_BEFORE + N_PARKED] += turn_deg
    heading += rng.normal(0, 4, len(north))
    sequence = np.zeros(len(north), dtype=np.int64)
    times = np.arange(len(north)) * 1000
    heading = heading if compass else np.full(len(north), np.nan)
    return Photos(
        colmap_id=np.arange(len(north)) + 1,
        names=tuple(f"{row}.jpg" for row in range(len(north))),
        side=np.zeros(len(north), dtype=np.int64),
        east_north_m=place,
        heading_deg=heading,
        sequence=sequence,
        captured_at=times,
        creator=np.zeros(len(north), dtype=np.int64),
        stay=stays_of(sequence, times, place, heading),
    )


@pytest.mark.parametrize("compass", [True, False])
def test_a_stop_is_one_stay_of_which_three_photos_stand_for_the_rest(compass):
    photos = drive_with_a_stop(compass=compass)
    standing = np.flatnonzero(photos.stay == 0)
    assert photos.stay.max() == 0
    assert N_PARKED - 4 <= len(standing) <= N_PARKED
    assert (np.diff(standing) == 1).all()
    idle = idle_photos(photos.stay, photos.captured_at)
    assert idle.sum() == len(standing) - 3
    assert not idle[standing[[0, -1]]].any()


def test_a_camera_that_turns_where_it_stands_begins_another_stay():
    photos = drive_with_a_stop(turn_deg=70.0)
    assert photos.stay.max() == 1
    assert photos.stay[N_BEFORE + 40] == 0
    assert photos.stay[N_BEFORE + 60] == 1


def test_photos_without_a_time_or_a_sequence_stand_nowhere():
    photos = drive_with_a_stop()
    lost = np.full(len(photos), np.iinfo(np.int64).min)
    none = np.full(len(photos), -1)
    place, heading = photos.east_north_m, photos.heading_deg
    assert (stays_of(photos.sequence, lost, place, heading) == -1).all()
    assert (stays_of(none, photos.captured_at, place, heading) == -1).all()
    empty = np.zeros(0, dtype=np.int64)
    assert len(stays_of(empty, empty, np.zeros((0, 2)), np.zeros(0))) == 0


def test_a_parked_car_spends_none_of_the_pair_budget():
    photos = drive_with_a_stop()
    heading = photos.heading_deg
    found = propose_pairs(photos, MatchingSettings(), heading)
    idle = idle_photos(photos.stay, photos.captured_at)
    with_idle = found.pairs[idle[found.pairs].any(axis=1)]
    assert (np.diff(with_idle, axis=1) == 1).all()  # only neighbours of the sequence
    assert found.refused["stationary"] > 1000
    moving = np.flatnonzero(~idle)
    assert len(found) < len(moving) * MatchingSettings().max_pairs_per_photo + idle.sum()
    alone = photos.select(moving)
    expected = {
        (int(moving[a]), int(moving[b]))
        for a, b in propose_pairs(alone, MatchingSettings(), heading[moving]).of("spatial")
    }
    assert {tuple(pair) for pair in found.of("spatial").tolist()} == expected
    chain = {tuple(pair) for pair in found.pairs.tolist()}
    assert {(row, row + 1) for row in range(len(photos) - 1)} <= chain


def test_standing_cameras_are_compared_where_that_is_asked_or_nobody_has_looked():
    photos = drive_with_a_stop()
    asked = propose_pairs(photos, MatchingSettings(stationary_m=0.0), photos.heading_deg)
    assert "stationary" not in asked.refused
    unseen = dataclasses.replace(photos, stay=None)
    found = propose_pairs(unseen, MatchingSettings(), photos.heading_deg)
    idle = idle_photos(photos.stay, photos.captured_at)
    assert (np.diff(found.pairs[idle[found.pairs].any(axis=1)], axis=1) > 1).any()
