"""Straight street or crossing: where ways of different directions meet, and where one turns."""

import numpy as np
from numpy.typing import NDArray

from citysplat_core.imagery.tracks import Bools, Floats, Ints, Tracks

_CELL_M = 15.0
_BINS = 6
_OTHERS = 2
_TURN_DEG = 40.0
_COURSE_STEPS = 3
_MIN_COURSE_M = 3.0
_ROW = 1 << 32


def courses_deg(tracks: Tracks) -> tuple[Floats, Floats]:
    """Return the direction of travel of each photo and how much it turns there.

    Args:
        tracks: Sorted tracks with finite positions.

    Returns:
        Course clockwise from north over three photos each way, and the angle between the way there
        and the way on, 0 to 180; degrees, shape (N,) each, NaN for cameras that stand.
    """
    before, after = tracks.around(_COURSE_STEPS)
    rows = np.arange(len(tracks.sequence))
    course = _direction_deg(tracks, before, after)
    turn = _direction_deg(tracks, rows, after) - _direction_deg(tracks, before, rows)
    return course, np.abs((turn + 180.0) % 360.0 - 180.0)


def _direction_deg(tracks: Tracks, a: Ints, b: Ints) -> Floats:
    east, north = (tracks.east_north_m[b] - tracks.east_north_m[a]).T
    angle = np.degrees(np.arctan2(east, north)) % 360.0
    return np.where(np.hypot(east, north) >= _MIN_COURSE_M, angle, np.nan)


def at_crossing(east_north_m: Floats, course_deg: Floats, turn_deg: Floats) -> Bools:
    """Say which photos stand at a crossing.

    That is where at least two photos in the 15 m cells about it go another way (by 30 to 60 degrees
    or more, forwards or backwards alike), or where the camera itself turns by more than 40 degrees.

    Args:
        east_north_m: Positions, shape (N, 2).
        course_deg: Directions of travel, shape (N,); NaN where the camera stands.
        turn_deg: Turns, shape (N,).

    Returns:
        Shape (N,).
    """
    turns = np.nan_to_num(turn_deg) > _TURN_DEG
    moves = np.isfinite(course_deg)
    if not moves.any():
        return turns
    cell = np.floor(east_north_m / _CELL_M).astype(np.int64)
    key = (cell[:, 0] - cell[:, 0].min() + 1) * _ROW + (cell[:, 1] - cell[:, 1].min() + 1)
    direction = (np.nan_to_num(course_deg) % 180.0 // (180.0 / _BINS)).astype(np.int64) % _BINS
    cells, counts = _counts_about(key, key[moves], direction[moves])
    at = np.searchsorted(cells, key)
    others = np.zeros(len(key), np.int64)
    for turn in range(2, _BINS - 1):  # directions that differ by two bins or more
        others += counts[at, (direction + turn) % _BINS]
    return np.asarray(turns | (moves & (others >= _OTHERS)))


def _counts_about(wanted: Ints, key: Ints, direction: Ints) -> tuple[Ints, NDArray[np.int32]]:
    """Count the photos of each direction in the 3 by 3 cells about each cell, shape (C, 6)."""
    cells = np.unique(wanted)
    own = np.zeros((len(cells), _BINS), np.int32)
    np.add.at(own, (np.searchsorted(cells, key), direction), 1)
    about = np.zeros_like(own)
    for step in (dx * _ROW + dy for dx in (-1, 0, 1) for dy in (-1, 0, 1)):
        at = np.minimum(np.searchsorted(cells, cells + step), len(cells) - 1)
        is_there = cells[at] == cells + step
        about[is_there] += own[at[is_there]]
    return cells, about
