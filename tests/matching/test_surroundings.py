import numpy as np
import pytest

from citysplat_core.matching.depths import DEPTH_SIGMA, PairDepths
from citysplat_core.matching.inliers import Inliers
from citysplat_core.matching.surroundings import complete_depths
from citysplat_core.matching.verify import Edges

STRIDE = 100
WALL_M = 10.0


@pytest.fixture
def wall():
    """A photo with 25 sure points of a wall in keypoints 0 to 24, and two pairs of it."""
    across, down = np.meshgrid(np.linspace(-0.2, 0.2, 5), np.linspace(-0.2, 0.2, 5))
    return np.stack([across.ravel(), down.ravel()], axis=1)


def complete(wall, extra: np.ndarray, log_depth: np.ndarray, verdict: np.ndarray, sure=WALL_M):
    """Complete matches of keypoints 25, 26, ... of photo 0 at the given bearings."""
    n_sure, n = len(wall), len(wall) + len(extra)
    edges = Edges(
        rows=np.array([[0, 1], [0, 2]]), rotation=np.tile(np.eye(3), (2, 1, 1)),
        translation=np.tile([0.0, 0.0, -1.0], (2, 1)), n_inliers=np.array([n_sure, n - n_sure]),
        config=np.full(2, 2),
    )  # fmt: skip
    bearing = np.concatenate([wall, extra])
    inliers = Inliers(
        edge=np.repeat(np.array([0, 1], dtype=np.int32), [n_sure, n - n_sure]),
        point=np.stack([np.arange(n), np.arange(n)], axis=1).astype(np.int32),
        bearing=np.stack([bearing, bearing], axis=1).astype(np.float32),
    )
    pairs = PairDepths(
        log_depth=np.concatenate([np.full((n_sure, 2), np.log(WALL_M)), log_depth]),
        angle_deg=np.full(n, 5.0),
        verdict=np.concatenate([np.ones(n_sure, dtype=np.int8), verdict.astype(np.int8)]),
        sure_key=np.arange(n_sure),
        sure_log_depth=np.full(n_sure, np.log(sure)),
        stride=STRIDE,
    )
    return complete_depths(edges, inliers, pairs)


UNKNOWN = np.full((1, 2), np.nan)


def test_a_keypoint_without_a_depth_takes_that_of_the_wall_around_it(wall):
    out = complete(wall, np.array([[0.03, 0.02]]), UNKNOWN, np.zeros(1))
    assert out.depth_m[-1, 0] == pytest.approx(WALL_M)
    assert np.isnan(out.depth_m[-1, 1])  # the other photo knows nothing
    assert out.sigma[-1, 0] >= 0.1
    assert out.verdict[-1] == 0


def test_a_keypoint_far_from_all_that_is_known_stays_without(wall):
    out = complete(wall, np.array([[0.9, 0.9]]), UNKNOWN, np.zeros(1))
    assert np.isnan(out.depth_m[-1]).all()


@pytest.mark.parametrize(("said_m", "verdict"), [(WALL_M, 1), (1.1 * WALL_M, 1), (25.0, -1)])
def test_the_surroundings_bear_witness_to_the_depth_of_a_single_pair(wall, said_m, verdict):
    said = np.log([[said_m, said_m - 1.0]])
    out = complete(wall, np.array([[0.03, 0.02]]), said, np.zeros(1))
    assert out.verdict[-1] == verdict
    expected = said_m if verdict > 0 else WALL_M
    assert out.depth_m[-1, 0] == pytest.approx(expected)


def test_what_other_pairs_said_of_a_match_stands(wall):
    said = np.log([[25.0, 24.0]])
    out = complete(wall, np.array([[0.03, 0.02]]), said, np.ones(1))
    assert out.verdict[-1] == 1


def test_sure_keypoints_keep_their_depth(wall):
    out = complete(wall, np.array([[0.03, 0.02]]), UNKNOWN, np.zeros(1), sure=12.0)
    np.testing.assert_allclose(out.depth_m[: len(wall), 0], 12.0)
    np.testing.assert_allclose(out.sigma[: len(wall), 0], DEPTH_SIGMA)


def test_without_matches_there_is_nothing_to_complete(wall):
    out = complete(wall[:0], wall[:0], np.empty((0, 2)), np.empty(0))
    assert out.depth_m.shape == (0, 2)
    assert out.verdict.shape == (0,)
