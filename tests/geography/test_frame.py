"""The city frame against geocentric coordinates, its independent definition."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer

from citysplat_core.errors import GeoreferenceError
from citysplat_core.geography import CityFrame

ECEF = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)

origins = st.tuples(st.floats(-179.9, 179.9), st.floats(-84, 84), st.floats(-100, 4000))
offsets = st.tuples(st.floats(-0.05, 0.05), st.floats(-0.05, 0.05), st.floats(-50, 500))


def enu_by_hand(origin, lon, lat, alt):
    """East-North-Up from geocentric coordinates and the textbook rotation."""
    lam, phi = np.radians(origin[0]), np.radians(origin[1])
    delta = np.array(ECEF.transform(lon, lat, alt)) - np.array(ECEF.transform(*origin))
    rotation = np.array(
        [
            [-np.sin(lam), np.cos(lam), 0],
            [-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)],
            [np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)],
        ]
    )
    return rotation @ delta


def near(origin, offset):
    lon = (origin[0] + offset[0] + 180) % 360 - 180
    return lon, float(np.clip(origin[1] + offset[1], -85, 85)), origin[2] + offset[2]


@given(origins, offsets)
def test_enu_is_the_rotated_geocentric_difference(origin, offset):
    position = near(origin, offset)
    seen = CityFrame(*origin).enu(*position)
    np.testing.assert_allclose(seen, enu_by_hand(origin, *position), atol=1e-5)


@given(origins, offsets)
def test_going_to_enu_and_back_gives_the_position(origin, offset):
    position = near(origin, offset)
    frame = CityFrame(*origin)
    back = frame.lon_lat_alt(frame.enu(*position))
    assert abs((back[0] - position[0] + 180) % 360 - 180) < 1e-9
    np.testing.assert_allclose(back[1:], position[1:], atol=1e-6, rtol=0)


@given(origins, offsets, offsets)
def test_distances_are_those_of_space(origin, one, two):
    a, b = near(origin, one), near(origin, two)
    frame = CityFrame(*origin)
    straight = np.linalg.norm(np.array(ECEF.transform(*a)) - np.array(ECEF.transform(*b)))
    assert np.linalg.norm(frame.enu(*a) - frame.enu(*b)) == pytest.approx(straight, abs=1e-5)


def test_the_origin_is_zero_and_the_axes_point_east_north_up():
    frame = CityFrame(13.19, 55.7, 50.0)
    np.testing.assert_allclose(frame.enu(13.19, 55.7, 50.0), [0, 0, 0], atol=1e-8)
    east, north, up = frame.enu([13.1901, 13.19, 13.19], [55.7, 55.7001, 55.7], [50, 50, 51])
    assert east[0] > 6
    assert abs(east[1]) < 1e-3
    assert north[1] > 11
    assert abs(north[0]) < 1e-3
    np.testing.assert_allclose(up, [0, 0, 1], atol=1e-6)


def test_a_missing_height_stays_missing_and_moves_nothing_sideways():
    frame = CityFrame(13.19, 55.7, 50.0)
    with_height = frame.enu([13.2, 13.2], [55.71, 55.71], [50.0, np.nan])
    assert np.isnan(with_height[1, 2])
    np.testing.assert_array_equal(with_height[0, :2], with_height[1, :2])
    assert np.isnan(frame.enu(13.2, 55.71)[2])
    assert np.isnan(frame.lon_lat_alt(with_height)[1, 2])
    assert np.isfinite(frame.lon_lat_alt(with_height)[1, :2]).all()


def test_rows_keep_their_order_and_shape():
    frame = CityFrame(0.0, 0.0)
    assert frame.enu([], []).shape == (0, 3)
    assert frame.enu(0.1, 0.1, 0.0).shape == (3,)
    rows = frame.enu([0.1, 0.2], [0.0, 0.0], [0.0, 0.0])
    np.testing.assert_array_equal(rows[1], frame.enu(0.2, 0.0, 0.0))


def test_a_frame_travels_to_another_process():
    frame = CityFrame(13.19, 55.7, 50.0)
    again = pickle.loads(pickle.dumps(frame))  # noqa: S301 - our own bytes
    assert again == frame
    np.testing.assert_array_equal(again.enu(13.2, 55.7, 1), frame.enu(13.2, 55.7, 1))


@pytest.mark.parametrize(
    ("lon", "lat"), [(np.nan, 0), (0, np.nan), (181, 0), (0, 91), (np.inf, 0), (55.7, 131.9)]
)
def test_positions_off_the_globe_are_refused_by_row(lon, lat):
    with pytest.raises(
        GeoreferenceError, match=r"1 of 2 positions are not on the globe \(rows \[1\]"
    ):
        CityFrame(0.0, 0.0).enu([0, lon], [0, lat])


@pytest.mark.parametrize("origin", [(181, 0, 0), (0, 90, 0), (np.nan, 0, 0), (0, 0, np.nan)])
def test_an_origin_off_the_globe_is_refused(origin):
    with pytest.raises(GeoreferenceError, match="frame origin lon="):
        CityFrame(*origin)
