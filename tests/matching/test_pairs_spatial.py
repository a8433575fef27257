import itertools

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citysplat_core.matching.pairs import NO_PANORAMA, NO_SEQUENCE
from citysplat_core.matching.pairs_gates import Limits, gate_pairs, scene_of
from citysplat_core.matching.pairs_spatial import Ranked, rank_neighbours
from citysplat_core.matching.photos import Photos

LIMITS = Limits(distance_m=30.0, cosine=-0.4, time_ms=-1.0, stationary_m=0.3, overlap=0.005)


def photos_at(place: np.ndarray, heading: np.ndarray | float, **columns) -> Photos:
    count = len(place)
    given_columns = {
        "side": np.zeros(count, dtype=np.int64),
        "sequence": np.full(count, NO_SEQUENCE),
        "captured_at": np.arange(count) * 1000,
    } | columns
    return Photos(
        colmap_id=np.arange(count) + 1,
        names=tuple(f"{row}.jpg" for row in range(count)),
        east_north_m=place,
        heading_deg=np.broadcast_to(heading, (count,)).astype(float),
        **given_columns,
    )


def ranked(photos: Photos, limits: Limits = LIMITS, **options) -> Ranked:
    chosen = {"max_neighbours": 20} | options
    return rank_neighbours(scene_of(photos, photos.heading_deg), limits, **chosen)


def line(count: int, step_m: float = 5.0) -> np.ndarray:
    return np.c_[np.zeros(count), np.arange(count) * step_m]


def as_set(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(int(first), int(second)) for first, second in pairs}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 40), st.integers(0, 1000))
def test_the_pairs_are_those_that_every_gate_lets_through(count, seed):
    rng = np.random.default_rng(seed)
    heading = np.where(rng.random(count) < 0.2, np.nan, rng.uniform(0, 360, count))
    photos = photos_at(rng.uniform(-50, 50, (count, 2)), heading)
    everything = np.array(list(itertools.combinations(range(count), 2)), dtype=np.int32)
    gated = gate_pairs(scene_of(photos, heading), everything.reshape(-1, 2), LIMITS)
    found = ranked(photos, max_neighbours=count + 1)
    expected = everything.reshape(-1, 2)[gated.reason == 0]
    assert found.pairs.tolist() == expected.tolist()
    told = gated.counts()
    told.pop("distance", None)  # nobody asked for them
    assert found.refused == told
    assert (np.diff(found.worth[np.argsort(found.worth)]) >= 0).all()


def test_photos_that_look_away_from_each_other_are_no_pair_and_are_counted():
    found = ranked(photos_at(line(4, 3.0), np.array([0.0, 10.0, 180.0, np.nan])))
    assert {(0, 1), (0, 3), (1, 3), (2, 3)} >= as_set(found.pairs) >= {(0, 1), (2, 3)}
    assert found.refused["heading"] == 2


def test_views_of_one_panorama_are_never_a_pair():
    place = np.repeat(line(4), (4, 4, 4, 1), axis=0)
    panorama = np.repeat([0, 1, 2, NO_PANORAMA], (4, 4, 4, 1))
    found = ranked(photos_at(place, np.nan, panorama=panorama), max_neighbours=4)
    first, second = panorama[found.pairs[:, 0]], panorama[found.pairs[:, 1]]
    assert not ((first == second) & (first != NO_PANORAMA)).any()
    assert found.refused["views of one panorama"] == 18


def test_a_standing_camera_gains_nothing_but_another_person_at_the_place_does():
    creator = np.array([3, 3, 4])
    found = ranked(photos_at(np.zeros((3, 2)), 90.0, creator=creator))
    assert as_set(found.pairs) == {(0, 2), (1, 2)}
    assert found.refused == {"stationary": 1}
    turned = photos_at(np.zeros((2, 2)), np.array([0.0, 25.0]), creator=creator[:2])
    assert as_set(ranked(turned).pairs) == {(0, 1)}


def test_photos_of_other_years_are_no_pair_where_that_is_asked():
    times = np.array([0, 1, 400]) * 86_400_000
    photos = photos_at(line(3, 4.0), 0.0, captured_at=times)
    assert len(ranked(photos).pairs) == 3
    found = ranked(photos, LIMITS._replace(time_ms=365 * 86_400_000.0))
    assert as_set(found.pairs) == {(0, 1)}
    assert found.refused == {"time": 2}


def test_a_dense_video_gets_near_and_wide_baselines():
    found = ranked(photos_at(line(400, 0.2), 0.0), max_neighbours=10)
    of_middle = found.pairs[(found.pairs == 200).any(axis=1)]
    gap_m = 0.2 * np.abs(of_middle[:, 0] - of_middle[:, 1])
    assert gap_m.min() < 1.0
    assert gap_m.max() > 5.0
    assert found.refused["crowd"] > 0


def test_another_drive_is_not_crowded_out_by_a_standstill():
    standing = line(50, 0.02)
    passing = np.c_[np.full(5, 3.0), np.arange(5) * 3.0]
    found = ranked(photos_at(np.r_[standing, passing], 0.0), max_neighbours=6)
    of_first = found.pairs[found.pairs[:, 0] == 0][:, 1]
    assert (of_first >= 50).sum() >= 2


def test_pairs_across_a_border_join_two_sides_only():
    side = np.array([0, 1, 0, 1])
    found = ranked(photos_at(line(4, 3.0), 0.0, side=side), across=True)
    assert as_set(found.pairs) == {(0, 1), (0, 3), (1, 2), (2, 3)}


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_result_does_not_depend_on_threads(n_threads):
    rng = np.random.default_rng(0)
    photos = photos_at(rng.uniform(0, 900, (9000, 2)), rng.uniform(0, 360, 9000))
    one, other = ranked(photos), ranked(photos, n_threads=n_threads)
    assert np.array_equal(one.pairs, other.pairs)
    assert np.array_equal(one.worth, other.worth)
    assert one.refused == other.refused


def test_kernels_are_compiled_once_for_arrays_of_tables_and_of_numpy():
    photos = photos_at(line(5), 0.0, creator=np.zeros(5, dtype=np.int64))
    of_numpy = scene_of(photos, photos.heading_deg)
    for name in ("east_north_m", "sequence", "side", "creator", "captured_at"):
        getattr(photos, name).flags.writeable = False
    of_tables = scene_of(photos, photos.heading_deg)
    assert numba.typeof(of_tables) == numba.typeof(of_numpy)
