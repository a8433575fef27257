import numpy as np
import pytest

from citysplat_core.matching.street_map import add_street_depths
from citysplat_core.matching.surroundings import MatchDepths

HEADINGS = np.array([0.0, 0.0, 90.0])
POSITIONS = np.array([[0.0, 0.0], [0.0, 3.0], [0.0, 6.0]])
WALL_EAST_M = 8.0


def keypoints(own_wall_m: float | None = None) -> MatchDepths:
    """Two photos look along a street and are sure of the wall; a third one looks at it."""
    north = np.linspace(4.0, 14.0, 60)
    owner, bearing, depth = [], [], []
    for row in (0, 1):
        ahead = north - POSITIONS[row, 1]
        seen = ahead > 5.0
        owner.append(np.full(seen.sum(), row))
        bearing.append(np.stack([WALL_EAST_M / ahead[seen], -2.0 / ahead[seen]], axis=1))
        depth.append(ahead[seen])
    across = np.linspace(-0.5, 0.0, 12)
    owner.append(np.full(12, 2))
    bearing.append(np.stack([across, np.full(12, -0.2)], axis=1))
    depth.append(np.full(12, np.nan if own_wall_m is None else own_wall_m))
    owners, depths = np.concatenate(owner), np.concatenate(depth)
    return MatchDepths(
        verdict=np.empty(0, dtype=np.int8),
        place=np.empty((0, 2), dtype=np.intp),
        owner=owners,
        bearing=np.concatenate(bearing).astype(np.float32),
        is_sure=np.isfinite(depths),
        keypoint_depth_m=depths,
        keypoint_sigma=np.full(len(owners), 0.06),
    )


def test_a_photo_that_cannot_tell_takes_the_wall_that_others_have_seen():
    depths, is_wrong = add_street_depths(keypoints(), POSITIONS, HEADINGS)
    own = depths.keypoint_depth_m[depths.owner == 2]
    np.testing.assert_allclose(own[np.isfinite(own)], WALL_EAST_M, rtol=0.1)
    assert np.isfinite(own).sum() >= 6
    assert (depths.keypoint_sigma[depths.owner == 2][np.isfinite(own)] >= 0.2).all()
    assert not is_wrong.any()


@pytest.mark.parametrize(("own_wall_m", "wrong"), [(8.0, False), (20.0, True)])
def test_a_photo_that_the_map_contradicts_has_only_the_depths_of_the_map(own_wall_m, wrong):
    depths, is_wrong = add_street_depths(keypoints(own_wall_m), POSITIONS, HEADINGS)
    assert is_wrong.tolist() == [False, False, wrong]
    own = depths.keypoint_depth_m[depths.owner == 2]
    np.testing.assert_allclose(own[np.isfinite(own)], WALL_EAST_M, rtol=0.1)


def test_nothing_is_known_of_a_photo_without_a_heading():
    headings = np.array([0.0, 0.0, np.nan])
    depths, is_wrong = add_street_depths(keypoints(), POSITIONS, headings)
    assert np.isnan(depths.keypoint_depth_m[depths.owner == 2]).all()
    assert not is_wrong.any()


def test_points_that_one_photo_alone_is_sure_of_make_no_wall():
    given = keypoints()
    given.is_sure[given.owner == 1] = False
    depths, _ = add_street_depths(given, POSITIONS, HEADINGS)
    assert np.isnan(depths.keypoint_depth_m[depths.owner == 2]).all()
