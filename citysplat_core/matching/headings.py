"""Which way each photo really looks: no compass is believed until something agrees with it.

Real compasses are wrong for whole runs of photos (20 of 29 in one public walk, by 165 degrees).
Two witnesses are heard: the direction in which a sequence moves, and the baselines of its own
verified pairs, which give a heading without any compass.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.pairs import NO_SEQUENCE, wrap_deg
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.verify import CALIBRATED, UNCALIBRATED, Edges

_MIN_MOVE_M: Final = 2.0
"""Shortest move between the photos before and after that gives a direction."""
_MIN_WITNESSES: Final = 4
"""Fewest moving photos that can vouch for a sequence's compass."""
_AGREE_DEG: Final = 45.0
"""Two headings closer than this agree."""
_AGREE_SHARE: Final = 0.8
"""Share of a sequence's photos that must agree."""
_MAX_RISE: Final = 0.6
"""Largest vertical part of a baseline in an upright camera's axes (1 is straight up)."""
UPRIGHT_COSINE: Final = 0.85
"""Cosine between the vertical axes of two cameras from which on both can be upright."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headings:
    """Headings with where they come from.

    Attributes:
        heading_deg: Clockwise from north, degrees, NaN where nothing can be trusted, shape (N,).
        n_visual: Photos whose heading was solved from verified pairs of their sequence.
        n_compass: Photos whose compass was believed.
        n_unknown: Photos without a heading.
    """

    heading_deg: NDArray[np.float64]
    n_visual: int
    n_compass: int
    n_unknown: int


def compass_that_follows_motion(photos: Photos) -> NDArray[np.float64]:
    """Return the compass of the sequences in which it keeps one angle to the direction of motion.

    A camera may look ahead, sideways or back: the angle must only stay the same. Sequences with
    too few moving photos to tell get NaN.

    Returns:
        Headings in degrees, NaN where not believed, shape (N,).
    """
    believed = np.full(len(photos), np.nan)
    motion_deg = _motion_bearings(photos)
    for number in np.unique(photos.sequence[photos.sequence != NO_SEQUENCE]):
        rows = np.flatnonzero(photos.sequence == number)
        offset = wrap_deg(photos.heading_deg[rows] - motion_deg[rows])
        offset = offset[np.isfinite(offset)]
        if len(offset) < _MIN_WITNESSES:
            continue
        agreeing = np.abs(wrap_deg(offset - circular_median_deg(offset))) <= _AGREE_DEG
        if agreeing.mean() >= _AGREE_SHARE:
            believed[rows] = photos.heading_deg[rows]
    return believed


def settle_headings(photos: Photos, edges: Edges) -> Headings:
    """Choose a heading for every photo: solved from its pairs first, a believed compass second.

    Args:
        photos: The photos.
        edges: Verified pairs; those inside a sequence are used.
    """
    visual = _visual_headings(photos, edges)
    compass = compass_that_follows_motion(photos)
    for number in np.unique(photos.sequence[photos.sequence != NO_SEQUENCE]):
        rows = np.flatnonzero(photos.sequence == number)
        gap = np.abs(wrap_deg(visual[rows] - photos.heading_deg[rows]))
        gap = gap[np.isfinite(gap)]
        if len(gap) and np.median(gap) > _AGREE_DEG:
            compass[rows] = np.nan
    heading = np.where(np.isfinite(visual), visual, compass)
    n_visual = int(np.isfinite(visual).sum())
    n_known = int(np.isfinite(heading).sum())
    return Headings(
        heading_deg=heading,
        n_visual=n_visual,
        n_compass=n_known - n_visual,
        n_unknown=len(photos) - n_known,
    )


def circular_median_deg(angle_deg: NDArray[np.float64]) -> float:
    """Return the one of the angles that has the smallest sum of differences to all, degrees."""
    gaps = np.abs(wrap_deg(angle_deg[:, None] - angle_deg[None, :]))
    return float(angle_deg[np.argmin(gaps.sum(axis=1))])


def _motion_bearings(photos: Photos) -> NDArray[np.float64]:
    """Bearing from the photo before to the photo after, NaN where the camera hardly moved."""
    bearing = np.full(len(photos), np.nan)
    for number in np.unique(photos.sequence[photos.sequence != NO_SEQUENCE]):
        rows = np.flatnonzero(photos.sequence == number)
        rows = rows[np.lexsort((rows, photos.captured_at[rows]))]
        position = photos.east_north_m[rows]
        before, after = np.r_[0, np.arange(len(rows) - 1)], np.r_[1 : len(rows), len(rows) - 1]
        move = position[after] - position[before]
        angle = np.degrees(np.arctan2(move[:, 0], move[:, 1]))
        bearing[rows] = np.where(np.hypot(move[:, 0], move[:, 1]) >= _MIN_MOVE_M, angle, np.nan)
    return bearing


def _visual_headings(photos: Photos, edges: Edges) -> NDArray[np.float64]:
    """Solve headings from baselines: GPS bearing of the partner less its bearing in the photo."""
    first, second = edges.rows[:, 0], edges.rows[:, 1]
    move = photos.east_north_m[second] - photos.east_north_m[first]
    usable = (
        (photos.sequence[first] == photos.sequence[second])
        & (photos.sequence[first] != NO_SEQUENCE)
        & (np.hypot(move[:, 0], move[:, 1]) >= 2 * _MIN_MOVE_M)
        & np.isin(edges.config, (CALIBRATED, UNCALIBRATED))
        & (np.abs(edges.translation[:, 1]) <= _MAX_RISE)
        & (edges.rotation[:, 1, 1] > UPRIGHT_COSINE)
    )
    bearing = np.degrees(np.arctan2(move[:, 0], move[:, 1]))
    to_second = -np.einsum("eji,ej->ei", edges.rotation, edges.translation)
    to_first = edges.translation
    samples = np.concatenate(
        [
            wrap_deg(bearing - azimuth_deg(to_second))[usable],
            wrap_deg(bearing + 180.0 - azimuth_deg(to_first))[usable],
        ]
    )
    owner = np.concatenate([first[usable], second[usable]])
    order = np.argsort(owner, kind="stable")
    owners, starts = np.unique(owner[order], return_index=True)
    heading = np.full(len(photos), np.nan)
    if not len(owners):  # splitting nothing gives one empty part
        return heading
    for row, own in zip(owners.tolist(), np.split(samples[order], starts[1:]), strict=True):
        middle = circular_median_deg(own)
        if len(own) >= 2 and np.median(np.abs(wrap_deg(own - middle))) <= _AGREE_DEG / 2:
            heading[row] = middle % 360.0
    return heading


def azimuth_deg(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angle of directions in camera axes (x right, z forward) to the right of forward."""
    return np.degrees(np.arctan2(direction[:, 0], direction[:, 2]))


def horizontal_rays(
    across: NDArray[np.floating[Any]], heading_deg: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return where image points of upright cameras lie on the map, seen from the camera.

    Args:
        across: Undistorted x at depth 1, shape (...).
        heading_deg: Headings of their photos, clockwise from north, shape (...).

    Returns:
        East and north for a depth of 1, shape (..., 2).
    """
    angle = np.radians(heading_deg)
    east = across * np.cos(angle) + np.sin(angle)
    north = np.cos(angle) - across * np.sin(angle)
    return np.stack([east, north], axis=-1)
