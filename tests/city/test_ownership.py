"""Who owns a Gaussian."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citysplat_core.city.ownership import in_square, split_by_owner, square_corners
from citysplat_core.geography import CityFrame, box_bounds, quadkey_of, tile_of

FRAME = CityFrame(-122.48, 37.76, 12.0)
X, Y = (int(v) for v in tile_of(-122.48, 37.76, 18))
BIG = quadkey_of(18, X, Y)
# The eastern neighbour is cut into its four children.
SMALL = [quadkey_of(18, X + 1, Y) + digit for digit in "0123"]
BOXES = [BIG, *SMALL]


def split(enu, key, *, others=None, beyond=150.0):
    others = [k for k in BOXES if k != key] if others is None else others
    return split_by_owner(
        enu, key=key, others=others, frame=FRAME, ground_up_m=0.0, environment_beyond_m=beyond
    )


def cloud(seed, n=2000):
    """Points in and around all boxes."""
    west_south = square_corners(FRAME, BIG)[0]
    random = np.random.default_rng(seed)
    return np.append(west_south, 0) + random.uniform((-40, -40, -5), (300, 150, 60), (n, 3))


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_boxes_of_different_sizes_own_every_point_of_their_squares_once(seed):
    points = cloud(seed)
    owners = np.sum([split(points, key).owned for key in BOXES], axis=0)
    lon_lat = FRAME.lon_lat_alt(points)[:, :2]
    somewhere = np.any([in_square(lon_lat, key) for key in BOXES], axis=0)
    assert owners.max() == 1
    assert np.array_equal(owners == 1, somewhere)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_every_gaussian_of_a_box_has_one_fate(seed):
    masks = split(cloud(seed), BIG)
    total = masks.owned.astype(int) + masks.environment + masks.left
    assert np.array_equal(total, np.ones_like(total))


def test_a_point_on_the_border_itself_belongs_to_the_east_and_the_south():
    west, south, east, north = box_bounds(BIG)
    corners = np.array([[west, north], [east, north], [west, south], [east, south]])
    assert in_square(corners, BIG).tolist() == [True, False, False, False]


def test_what_falls_to_a_box_without_a_splat_stays_as_backdrop():
    middle = FRAME.enu(*(np.mean(box_bounds(SMALL[0])[i::2]) for i in (0, 1)), 12.0)[None]
    assert split(middle, BIG).left.tolist() == [True]
    assert split(middle, BIG, others=[]).environment.tolist() == [True]


def test_high_and_far_gaussians_are_backdrop_wherever_they_fall():
    inside = np.append(square_corners(FRAME, BIG).mean(axis=0), 0.0)
    points = inside + np.array([[0, 0, 0], [0, 0, 151], [0, 0, -151], [-800, 0, 5], [500, 0, 5]])
    masks = split(points, BIG)
    assert masks.owned.tolist() == [True, False, False, False, False]
    assert masks.environment.tolist() == [False, True, True, True, True]


def test_positions_off_the_map_are_in_no_square():
    strange = np.array([[0.0, 89.0], [400.0, 0.0], [np.nan, 0.0]])
    assert not in_square(strange, BIG).any()


def test_the_corners_go_round_the_square():
    corners = square_corners(FRAME, BIG)
    west, south, east, north = box_bounds(BIG)
    back = FRAME.lon_lat_alt(np.column_stack([corners, np.full(4, np.nan)]))[:, :2]
    expected = [[west, south], [east, south], [east, north], [west, north]]
    assert back == pytest.approx(np.array(expected), abs=1e-6)
