"""Which Gaussians a box owns, which are only its backdrop, and which are its neighbours'."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from citysplat_core.geography import CityFrame, box_bounds, tile_of, tile_of_quadkey

_MERCATOR_LAT = 85.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """Three masks over the Gaussians of one box, shape (N,); no row is in two of them.

    Attributes:
        owned: Centre in the box's own square: shown whenever the box is near.
        environment: Sky, far backdrop, and what stands where no other box has a splat: shown only
            while the box itself is entered.
        left: Centre in the square of another box that has a splat of its own: not published.
    """

    owned: NDArray[np.bool_]
    environment: NDArray[np.bool_]
    left: NDArray[np.bool_]


def in_square(lon_lat: NDArray[np.float64], key: str) -> NDArray[np.bool_]:
    """Say which positions lie in a box's square.

    The squares of a quadtree's leaves share no position: a border belongs to the box east or south
    of it, as for photos.

    Args:
        lon_lat: Longitude and latitude, degrees, shape (N, 2).
        key: The box's quadkey.

    Returns:
        Shape (N,).
    """
    zoom, x, y = tile_of_quadkey(key)
    usable = (np.abs(lon_lat) <= (180.0, _MERCATOR_LAT)).all(axis=1)
    inside = np.zeros(len(lon_lat), dtype=bool)
    tile_x, tile_y = tile_of(lon_lat[usable, 0], lon_lat[usable, 1], zoom)
    inside[usable] = (tile_x == x) & (tile_y == y)
    return inside


def square_corners(frame: CityFrame, key: str) -> NDArray[np.float64]:
    """Give the corners of a box's square in the city frame.

    Returns:
        East and north in metres of the south-west, south-east, north-east and north-west corner at
        the origin's height, float64, shape (4, 2).
    """
    west, south, east, north = box_bounds(key)
    return frame.enu([west, east, east, west], [south, south, north, north])[:, :2]


def split_by_owner(
    enu: NDArray[np.float64],
    *,
    key: str,
    others: Collection[str],
    frame: CityFrame,
    ground_up_m: float,
    environment_beyond_m: float,
) -> Ownership:
    """Divide a box's Gaussians by where their centres lie.

    Args:
        enu: Centres in the city frame, metres, shape (N, 3).
        key: The box's quadkey.
        others: Keys of the other boxes that have a splat.
        frame: The city frame.
        ground_up_m: Typical height of the box's cameras in the city frame, metres.
        environment_beyond_m: A centre farther than this from the square, or higher or lower than
            this from the cameras, is backdrop wherever it falls.

    Returns:
        The masks; together they cover every row. For boxes with the same frame and settings, a
        position is owned by one box at most.
    """
    west_south, east_north = _extent(square_corners(frame, key))
    gap = np.maximum(np.maximum(west_south - enu[:, :2], enu[:, :2] - east_north), 0.0)
    far = np.hypot(gap[:, 0], gap[:, 1]) > environment_beyond_m
    far |= np.abs(enu[:, 2] - ground_up_m) > environment_beyond_m
    lon_lat = frame.lon_lat_alt(enu)[:, :2]
    owned = in_square(lon_lat, key) & ~far
    left = np.zeros(len(enu), dtype=bool)
    for other in sorted(others):
        left |= in_square(lon_lat, other)
    left &= ~far & ~owned
    return Ownership(owned=owned, environment=~owned & ~left, left=left)


def _extent(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low: NDArray[np.float64] = corners.min(axis=0)
    high: NDArray[np.float64] = corners.max(axis=0)
    return low, high
