import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citysplat_core.errors import MatchingError
from citysplat_core.matching.pairs import (
    NO_PANORAMA,
    NO_SEQUENCE,
    propose_fringe_pairs,
    propose_sequence_pairs,
    propose_spatial_pairs,
    wrap_deg,
)


def line(count: int, step_m: float = 5.0) -> np.ndarray:
    return np.c_[np.zeros(count), np.arange(count) * step_m]


def unknown(count: int) -> np.ndarray:
    return np.full(count, np.nan)


def alone(count: int) -> np.ndarray:
    return np.full(count, NO_SEQUENCE)


def as_set(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(int(first), int(second)) for first, second in pairs}


def test_a_sequence_pairs_its_photos_by_time_not_by_row():
    captured_at = np.array([30, 10, 20, 40])
    pairs = propose_sequence_pairs(np.zeros(4, dtype=np.int64), captured_at, steps=(1, 2))
    assert as_set(pairs) == {(1, 2), (0, 2), (0, 3), (0, 1), (2, 3)}


def test_sequences_do_not_mix_and_a_photo_without_one_has_no_partner():
    sequence = np.array([0, 1, 0, 1, NO_SEQUENCE, NO_SEQUENCE])
    pairs = propose_sequence_pairs(sequence, np.arange(6), steps=(1, 8))
    assert as_set(pairs) == {(0, 2), (1, 3)}


def test_steps_longer_than_the_sequence_give_nothing():
    pairs = propose_sequence_pairs(np.zeros(1, dtype=np.int64), np.zeros(1), steps=(1, 2, 4))
    assert pairs.shape == (0, 2)


def test_spatial_pairs_are_those_within_the_radius():
    pairs = propose_spatial_pairs(line(6), unknown(6), alone(6), radius_m=10.0)
    assert as_set(pairs) == {(a, b) for a in range(6) for b in range(6) if 0 < b - a <= 2}


def test_photos_that_look_away_from_each_other_are_no_pair():
    heading = np.array([0.0, 10.0, 180.0, np.nan])
    pairs = propose_spatial_pairs(line(4, 1.0), heading, alone(4), max_turn_deg=100.0)
    assert as_set(pairs) == {(0, 1), (0, 3), (1, 3), (2, 3)}


def test_views_of_one_panorama_are_never_a_pair_and_take_no_place_of_a_neighbour():
    # Three panoramas of four views and one photo, 5 m apart.
    place = np.repeat(line(4), (4, 4, 4, 1), axis=0)
    panorama = np.repeat([0, 1, 2, NO_PANORAMA], (4, 4, 4, 1))
    pairs = propose_spatial_pairs(
        place, unknown(13), alone(13), panorama, radius_m=20.0, max_neighbours=4
    )
    first, second = panorama[pairs[:, 0]], panorama[pairs[:, 1]]
    assert not ((first == second) & (first != NO_PANORAMA)).any()
    assert min(np.bincount(pairs.ravel(), minlength=13)) >= 4


def test_views_of_one_panorama_on_two_sides_of_a_border_are_never_a_pair():
    pairs = propose_fringe_pairs(
        np.zeros((4, 2)), unknown(4), alone(4), np.array([0, 0, 1, 1]), np.array([5, 6, 5, 7])
    )
    assert as_set(pairs) == {(0, 3), (1, 2), (1, 3)}


def test_the_heading_is_not_asked_inside_a_sequence():
    heading = np.array([0.0, 165.0, 0.0])
    pairs = propose_spatial_pairs(line(3), heading, np.array([4, 4, 5]), max_turn_deg=100.0)
    assert as_set(pairs) == {(0, 1), (0, 2)}


def test_refused_neighbours_are_replaced_by_farther_ones():
    position = np.r_[line(10, 0.1), [[30.0, 0.0]]]
    heading = np.r_[0.0, np.full(9, 180.0), 0.0]
    pairs = propose_spatial_pairs(position, heading, alone(11), max_neighbours=2)
    assert (0, 10) in as_set(pairs)


def test_a_dense_video_gets_near_and_wide_baselines():
    pairs = propose_spatial_pairs(line(400, 0.1), unknown(400), alone(400), max_neighbours=10)
    of_middle = pairs[(pairs == 200).any(axis=1)]
    gaps = np.abs(of_middle[:, 0] - of_middle[:, 1])
    assert gaps.min() == 1
    assert gaps.max() > 30
    assert len(pairs) <= 400 * 10


def test_photos_at_one_position_are_pairs():
    pairs = propose_spatial_pairs(np.zeros((3, 2)), unknown(3), alone(3))
    assert as_set(pairs) == {(0, 1), (0, 2), (1, 2)}


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_photos_give_no_pairs(count):
    position, side = line(count), np.zeros(count, dtype=np.int64)
    assert propose_spatial_pairs(position, unknown(count), alone(count)).shape == (0, 2)
    assert propose_fringe_pairs(position, unknown(count), alone(count), side).shape == (0, 2)


def test_fringe_pairs_join_the_two_sides_only():
    side = np.array([0, 1, 0, 1])
    pairs = propose_fringe_pairs(line(4), unknown(4), alone(4), side, radius_m=5.0)
    assert as_set(pairs) == {(0, 1), (1, 2), (2, 3)}


def test_a_position_that_is_not_finite_is_refused():
    position = line(3)
    position[1, 0] = np.nan
    with pytest.raises(MatchingError, match=r"1 of 3 positions are not finite \(rows \[1\]\)"):
        propose_spatial_pairs(position, unknown(3), alone(3))


@given(st.integers(2, 60), st.integers(1, 8), st.integers(0, 1000))
def test_pairs_are_unique_sorted_near_and_reach_every_nearest_neighbour(count, most, seed):
    rng = np.random.default_rng(seed)
    position = rng.uniform(0, 60, (count, 2))
    pairs = propose_spatial_pairs(
        position, unknown(count), alone(count), radius_m=30.0, max_neighbours=most
    )
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(as_set(pairs)) == len(pairs)
    assert pairs.tolist() == sorted(pairs.tolist())
    gap = np.linalg.norm(position[:, None] - position[None], axis=2)
    assert (gap[pairs[:, 0], pairs[:, 1]] <= 30.0).all()
    np.fill_diagonal(gap, np.inf)
    for row, nearest in enumerate(gap.argmin(axis=1)):
        if gap[row, nearest] <= 30.0:
            assert (min(row, nearest), max(row, nearest)) in as_set(pairs)


def test_angles_wrap_at_half_a_turn():
    wrapped = wrap_deg(np.array([190.0, -190.0, 360.0, 179.0, np.nan]))
    np.testing.assert_allclose(wrapped, [-170.0, 170.0, 0.0, 179.0, np.nan])
