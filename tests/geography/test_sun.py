from datetime import UTC, datetime

import numpy as np
import pytest

from citysplat_core.geography.sun import sun_elevation_deg


def height(when, lon, lat):
    times = np.array([when.timestamp() * 1000])
    return float(sun_elevation_deg(times, np.array([lon]), np.array([lat]))[0])


@pytest.mark.parametrize(("lon", "lat"), [(8.54, 47.37), (18.42, -33.92), (-149.9, 61.2)])
def test_on_the_longest_day_the_sun_stands_as_high_and_as_low_as_geometry_says(lon, lat):
    start = datetime(2024, 6, 20, 12, tzinfo=UTC).timestamp() * 1000
    times = start + 60_000.0 * np.arange(24 * 60)
    heights = sun_elevation_deg(times, np.full(len(times), lon), np.full(len(times), lat))
    assert heights.max() == pytest.approx(90 - abs(lat - 23.44), abs=0.05)
    assert heights.min() == pytest.approx(abs(lat + 23.44) - 90, abs=0.05)


def test_at_the_equinox_the_sun_stands_over_the_equator():
    assert height(datetime(2024, 3, 20, 12, 7, tzinfo=UTC), 0.0, 0.0) > 89.7


def test_the_known_value_is_met_to_a_hundredth_of_a_degree():
    when = datetime(2024, 6, 21, 11, 30, tzinfo=UTC)
    assert height(when, 8.54, 47.37) == pytest.approx(66.06, abs=0.005)


def test_an_unknown_time_gives_no_height():
    assert np.isnan(sun_elevation_deg(np.array([np.nan]), np.zeros(1), np.zeros(1))).all()
