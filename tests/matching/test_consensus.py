import numpy as np
import pytest

from citysplat_core.matching.consensus import Offsets, measure_offsets, settle_positions
from citysplat_core.matching.verify import Edges

N_PHOTOS = 20
ALONG = np.array([[row, row + 1] for row in range(N_PHOTOS - 1) if row != 9])
"""Two drives of 10 photos."""


def edges_of(rows: np.ndarray) -> Edges:
    n = len(rows)
    return Edges(
        rows=rows, rotation=np.tile(np.eye(3), (n, 1, 1)), translation=np.zeros((n, 3)),
        n_inliers=np.full(n, 50), config=np.full(n, 2),
    )  # fmt: skip


def world(n_false: int = 0, seed: int = 0):
    """Return pairs, which are false, offsets by GPS errors of two drives, and these errors."""
    rng = np.random.default_rng(seed)
    error = np.repeat([[2.0, -1.5], [-1.0, 2.5]], 10, axis=0) + rng.normal(0, 0.2, (N_PHOTOS, 2))
    rows = np.array([(a, b) for a in range(10) for b in (a + 9, a + 10, a + 11) if 10 <= b < 20])
    rows = np.concatenate([rows, ALONG])
    offset = error[rows[:, 1]] - error[rows[:, 0]] + rng.normal(0, 0.2, rows.shape)
    is_false = np.isin(np.arange(len(rows)), 3 * np.arange(n_false))
    offset[is_false] += [0.0, 9.0]
    offsets = Offsets(east_north_m=offset, sigma_m=np.full(len(rows), 0.5))
    return edges_of(rows), is_false, offsets, error


def settle(edges, offsets, asked=None, along=ALONG, n_photos=N_PHOTOS):
    asked = np.ones(len(edges), dtype=bool) if asked is None else asked
    return settle_positions(edges, offsets, asked, along, n_photos, gps_sigma_m=4.0)


def between_drives(value: np.ndarray) -> np.ndarray:
    return value[10:].mean(axis=0) - value[:10].mean(axis=0)


@pytest.mark.parametrize("n_false", [0, 8])
def test_corrections_undo_the_gps_error_of_a_drive_against_another(n_false):
    edges, is_false, offsets, error = world(n_false)
    correction = settle(edges, offsets)
    np.testing.assert_allclose(between_drives(correction), -between_drives(error), atol=0.5)
    left = offsets.east_north_m + correction[edges.rows[:, 1]] - correction[edges.rows[:, 0]]
    gap = np.hypot(*left.T)
    assert (gap[~is_false] < 1.5).all()
    assert (gap[is_false] > 6.0).all()


def test_every_loop_of_true_pairs_closes():
    """Each pair agrees with one set of positions, so the sum along any loop is nothing."""
    edges, _, offsets, _ = world()
    correction = settle(edges, offsets)
    way = correction[edges.rows[:, 0]] - correction[edges.rows[:, 1]]
    of_pair = {tuple(pair): row for row, pair in enumerate(edges.rows.tolist())}
    for a in range(9):
        loop = [(a, a + 10), (a + 10, a + 11)], [(a, a + 1), (a + 1, a + 11)]
        there, back = (sum(way[of_pair[pair]] for pair in side) for side in loop)
        np.testing.assert_allclose(there, back, atol=1e-9)


def test_pairs_that_are_not_asked_do_not_vote():
    edges, _, offsets, _ = world()
    nobody = settle(edges, offsets, asked=np.zeros(len(edges), dtype=bool))
    assert not nobody.any()


def test_a_single_pair_moves_its_photos_towards_each_other():
    edges = edges_of(np.array([[0, 1]]))
    offsets = Offsets(east_north_m=np.array([[2.0, 0.0]]), sigma_m=np.array([0.5]))
    correction = settle(edges, offsets, along=np.empty((0, 2), dtype=np.int64), n_photos=2)
    assert correction[0, 0] == pytest.approx(-correction[1, 0])
    assert 0.5 < correction[0, 0] < 1.0
    assert not correction[:, 1].any()


def test_without_pairs_nothing_moves():
    none = Offsets(east_north_m=np.empty((0, 2)), sigma_m=np.empty(0))
    correction = settle(edges_of(np.empty((0, 2), dtype=np.int64)), none)
    np.testing.assert_array_equal(correction, np.zeros((N_PHOTOS, 2)))


def test_an_offset_is_the_median_of_what_the_matches_say():
    edge = np.repeat(np.array([0, 2], dtype=np.int32), [5, 4])
    east = np.array([1.0, 1.1, 0.9, 1.0, 9.0, 2.0, 2.2, 1.8, 2.0])
    offset = np.stack([east, -east], axis=1)
    out = measure_offsets(edge, offset, np.ones(9), 3)
    np.testing.assert_allclose(out.east_north_m[[0, 2]], [[1.0, -1.0], [2.0, -2.0]])
    assert np.isnan(out.east_north_m[1]).all()
    assert np.isnan(out.sigma_m[1])
    assert (out.sigma_m[[0, 2]] > 0.3).all()


def test_too_few_known_matches_make_no_offset():
    offset = np.array([[1.0, 0.0]] * 3 + [[np.nan, 0.0]])
    out = measure_offsets(np.zeros(4, dtype=np.int32), offset, np.ones(4), 1)
    assert np.isnan(out.sigma_m).all()
    assert np.isnan(out.east_north_m).all()
