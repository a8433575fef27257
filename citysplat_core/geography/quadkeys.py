"""Web-mercator tiles and their quadkeys.

Formulas: the slippy-map tile scheme, x = (lon + 180) / 360 * 2^z and
y = (1 - asinh(tan(lat)) / pi) / 2 * 2^z; a quadkey interleaves the bits of y and x, one digit a
zoom.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from citysplat_core.errors import GeoreferenceError

MAX_LAT = 85.0511287798066


def tile_of(
    lon: ArrayLike, lat: ArrayLike, zoom: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the tile that each position falls in.

    Args:
        lon: Longitudes, degrees, shape (N,).
        lat: Latitudes, degrees, same shape.
        zoom: Zoom level, 0 to 26.

    Returns:
        x and y, int64, shape (N,). A position on a border belongs to the tile east or south of it.

    Raises:
        GeoreferenceError: A latitude is beyond web mercator (85.05 degrees) or not finite.
    """
    lon_deg, lat_deg = np.asarray(lon, float), np.asarray(lat, float)
    good = (np.abs(lat_deg) <= MAX_LAT) & (np.abs(lon_deg) <= 180)
    if not np.all(good):
        raise GeoreferenceError(
            f"{int(np.sum(~good))} of {good.size} positions are outside web mercator",
            expected="latitudes within 85.05 degrees and longitudes within 180",
            fix="Drop or repair these positions first.",
        )
    n = 1 << zoom
    x = np.floor((lon_deg + 180.0) / 360.0 * n).astype(np.int64)
    fraction = (1.0 - np.arcsinh(np.tan(np.radians(lat_deg))) / np.pi) / 2.0
    y = np.floor(fraction * n).astype(np.int64)
    return np.clip(x, 0, n - 1), np.clip(y, 0, n - 1)


def tile_bounds(zoom: int, x: int, y: int) -> tuple[float, float, float, float]:
    """Give a tile's west, south, east, north in degrees."""
    n = 1 << zoom

    def lat(row: int) -> float:
        return math.degrees(math.atan(math.sinh(math.pi * (1.0 - 2.0 * row / n))))

    return x / n * 360.0 - 180.0, lat(y + 1), (x + 1) / n * 360.0 - 180.0, lat(y)


def quadkey_of(zoom: int, x: int, y: int) -> str:
    """Name a tile by its quadkey, ``zoom`` digits of 0 to 3."""
    return "".join(str(((x >> i) & 1) | (((y >> i) & 1) << 1)) for i in range(zoom - 1, -1, -1))


def tile_of_quadkey(key: str) -> tuple[int, int, int]:
    """Give zoom, x, y of a quadkey.

    Raises:
        GeoreferenceError: It holds anything but the digits 0 to 3, or nothing.
    """
    if not key or set(key) - set("0123"):
        raise GeoreferenceError(
            f"box key {key!r}",
            expected="a quadkey: digits 0 to 3",
            fix="Copy the key from `citysplat status`.",
        )
    x = y = 0
    for digit in key:
        value = int(digit)
        x = (x << 1) | (value & 1)
        y = (y << 1) | (value >> 1)
    return len(key), x, y


def box_bounds(key: str) -> tuple[float, float, float, float]:
    """Give a box's west, south, east, north in degrees."""
    return tile_bounds(*tile_of_quadkey(key))


def neighbours(a: str, b: str) -> str:
    """Say how two boxes of any zoom touch: ``edge``, ``corner``, or empty if they do not.

    Boxes that overlap (one inside the other) do not count as neighbours.
    """
    za, xa, ya = tile_of_quadkey(a)
    zb, xb, yb = tile_of_quadkey(b)
    z = max(za, zb)
    sa, sb = 1 << (z - za), 1 << (z - zb)
    overlap_x = min((xa + 1) * sa, (xb + 1) * sb) - max(xa * sa, xb * sb)
    overlap_y = min((ya + 1) * sa, (yb + 1) * sb) - max(ya * sa, yb * sb)
    if overlap_x < 0 or overlap_y < 0 or (overlap_x > 0 and overlap_y > 0):
        return ""
    return "corner" if overlap_x == 0 and overlap_y == 0 else "edge"
