"""Where the sun stands: is a photo taken by day?"""

import numpy as np
from numpy.typing import NDArray

_MS_PER_DAY = 86_400_000.0
_DAYS_TO_J2000 = 10_957.5
"""Days from 1970-01-01 00:00 to 2000-01-01 12:00 UTC."""

Floats = NDArray[np.float64]


def sun_elevation_deg(captured_at_ms: Floats, lon: Floats, lat: Floats) -> Floats:
    """Return the height of the sun above the horizon, without refraction.

    The low-precision formula of the Astronomical Almanac: good to about 0.01 degrees between 1950
    and 2050.

    Args:
        captured_at_ms: Milliseconds since 1970, UTC, shape (N,); NaN where unknown.
        lon: Degrees, shape (N,).
        lat: Degrees, shape (N,).

    Returns:
        Degrees, shape (N,); NaN where time or place is.
    """
    days = captured_at_ms / _MS_PER_DAY - _DAYS_TO_J2000
    anomaly = np.radians(357.529 + 0.98560028 * days)
    mean_longitude = 280.459 + 0.98564736 * days
    ecliptic = np.radians(mean_longitude + 1.915 * np.sin(anomaly) + 0.020 * np.sin(2 * anomaly))
    tilt = np.radians(23.439 - 3.6e-7 * days)
    right_ascension = np.arctan2(np.cos(tilt) * np.sin(ecliptic), np.cos(ecliptic))
    declination = np.arcsin(np.sin(tilt) * np.sin(ecliptic))
    sidereal_hours = 18.697374558 + 24.06570982441908 * days
    hour_angle = np.radians(15.0 * sidereal_hours + lon) - right_ascension
    height = np.sin(np.radians(lat)) * np.sin(declination)
    height = height + np.cos(np.radians(lat)) * np.cos(declination) * np.cos(hour_angle)
    return np.asarray(np.degrees(np.arcsin(np.clip(height, -1.0, 1.0))))
