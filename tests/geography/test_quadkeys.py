"""Tiles, quadkeys and which boxes touch."""

import mercantile
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from citysplat_core.errors import GeoreferenceError
from citysplat_core.geography import box_bounds, neighbours, quadkey_of, tile_of, tile_of_quadkey

lons = st.floats(-180, 179.999999)
lats = st.floats(-85.05, 85.05)
zooms = st.integers(1, 22)
keys = st.text("0123", min_size=1, max_size=22)


@given(lons, lats, zooms)
def test_tiles_and_keys_are_those_of_a_second_library(lon, lat, zoom):
    x, y = tile_of([lon], [lat], zoom)
    theirs = mercantile.tile(lon, lat, zoom)
    # A position within a rounding error of a border may fall on either side.
    assert abs(int(x[0]) - theirs.x) <= 1
    assert abs(int(y[0]) - theirs.y) <= 1
    centre = mercantile.bounds(theirs)
    cx, cy = tile_of([(centre.west + centre.east) / 2], [(centre.south + centre.north) / 2], zoom)
    assert (int(cx[0]), int(cy[0])) == (theirs.x, theirs.y)
    assert quadkey_of(zoom, theirs.x, theirs.y) == mercantile.quadkey(theirs)


@given(keys)
def test_a_key_leads_to_its_tile_and_back(key):
    assert quadkey_of(*tile_of_quadkey(key)) == key


@given(keys)
def test_bounds_are_those_of_a_second_library_and_hold_their_centre(key):
    west, south, east, north = box_bounds(key)
    theirs = mercantile.bounds(mercantile.quadkey_to_tile(key))
    np.testing.assert_allclose(
        [west, south, east, north],
        [theirs.west, theirs.south, theirs.east, theirs.north],
        atol=1e-9,
    )
    x, y = tile_of([(west + east) / 2], [(south + north) / 2], len(key))
    assert quadkey_of(len(key), int(x[0]), int(y[0])) == key


@given(keys.filter(lambda key: len(key) < 22))
def test_the_four_children_cover_their_parent(key):
    west, south, east, north = box_bounds(key)
    children = [box_bounds(key + digit) for digit in "0123"]
    assert min(c[0] for c in children) == west
    assert max(c[2] for c in children) == east
    assert min(c[1] for c in children) == south
    assert max(c[3] for c in children) == north


@given(keys, keys)
def test_touching_is_mutual_and_agrees_with_the_squares(a, b):
    kind = neighbours(a, b)
    assert kind == neighbours(b, a)
    (wa, sa, ea, na), (wb, sb, eb, nb) = box_bounds(a), box_bounds(b)
    apart = wa > eb or wb > ea or sa > nb or sb > na
    if apart:
        assert kind == ""
    if a.startswith(b) or b.startswith(a):
        assert kind == ""


def test_a_box_has_four_edge_and_four_corner_neighbours():
    centre = (16, 35_000, 20_000)
    kinds = [
        neighbours(quadkey_of(*centre), quadkey_of(16, centre[1] + dx, centre[2] + dy))
        for dx in (-1, 0, 1)
        for dy in (-1, 0, 1)
    ]
    assert sorted(kinds) == [""] + ["corner"] * 4 + ["edge"] * 4


def test_boxes_of_different_zooms_touch_where_their_squares_do():
    big = quadkey_of(16, 100, 100)
    right_of_it = quadkey_of(18, 404, 401)
    at_its_corner = quadkey_of(18, 404, 404)
    inside_it = quadkey_of(18, 402, 402)
    two_away = quadkey_of(18, 405, 401)
    assert neighbours(big, right_of_it) == "edge"
    assert neighbours(big, at_its_corner) == "corner"
    assert neighbours(big, inside_it) == ""
    assert neighbours(big, two_away) == ""


@pytest.mark.parametrize("key", ["", "124", "12a", "0--1", " 0"])
def test_what_is_no_quadkey_is_refused(key):
    with pytest.raises(GeoreferenceError, match=f"box key '{key}'"):
        tile_of_quadkey(key)


@pytest.mark.parametrize(("lon", "lat"), [(0, 86), (0, np.nan), (np.nan, 0), (200, 0)])
def test_positions_outside_web_mercator_are_refused(lon, lat):
    with pytest.raises(GeoreferenceError, match="1 of 2 positions are outside web mercator"):
        tile_of([0, lon], [0, lat], 14)
