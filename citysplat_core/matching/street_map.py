"""Where walls stand by all photos together, for keypoints whose own photo cannot tell their depth.

A camera that looks sideways shares little with its neighbours, and what it shares with a look-alike
house has a wrong depth that several pairs confirm. But other drives have seen the same walls from
along the street. Their sure points, on the map, say how far the first wall stands in any direction.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from citysplat_core.matching.consensus import median_of
from citysplat_core.matching.headings import horizontal_rays
from citysplat_core.matching.pairs import wrap_deg
from citysplat_core.matching.surroundings import MatchDepths

_CELL_M: Final = 0.5
_LEAST_PHOTOS: Final = 2
"""Photos that must have put a sure point in a cell of the map."""
_FARTHEST_M: Final = 25.0
_NEAREST_M: Final = 3.0
_HIGHEST_M: Final = 12.0
"""Points up to here above the camera count; what is below it may be road."""
_LEAST_ANGLE_DEG: Final = 2.0
_LEAST_CELLS: Final = 3
_FIRST_WALL: Final = 0.3
"""Quantile of the ranges in a direction: the first wall, not what stands behind it."""
_SIGMA: Final = 0.2
_LEAST_COMPARED: Final = 6
_MOST_LOG_GAP: Final = 0.35
"""A photo whose own depths are usually farther than this from the map's is not believed."""


def add_street_depths(
    depths: MatchDepths, position_m: NDArray[np.float64], heading_deg: NDArray[np.float64]
) -> tuple[MatchDepths, NDArray[np.bool_]]:
    """Fill in depths by the map of all sure points, and set those of contradicted photos right.

    Args:
        depths: Depths by each photo's own pairs.
        position_m: Corrected positions, metres, shape (N, 2).
        heading_deg: Headings, degrees, NaN where unknown, shape (N,).

    Returns:
        The depths, and which photos' own depths the map contradicts, shape (N,): those have only
        the map's.
    """
    cells = _map_of(depths, position_m, heading_deg)
    log_wall = np.log(_ranges(depths, cells, position_m, heading_deg))
    own = np.where(depths.is_sure, np.log(depths.keypoint_depth_m), np.nan)
    gap = np.abs(own - log_wall)
    compared = np.flatnonzero(np.isfinite(gap))
    owner = depths.owner[compared]
    n_compared = np.bincount(owner, minlength=len(position_m))
    usual = median_of(owner, gap[compared], len(position_m))
    is_wrong = (n_compared >= _LEAST_COMPARED) & (usual > _MOST_LOG_GAP)
    depth, sigma = depths.keypoint_depth_m.copy(), depths.keypoint_sigma.copy()
    depth[is_wrong[depths.owner]] = np.nan
    filled = ~np.isfinite(depth)
    depth[filled], sigma[filled] = np.exp(log_wall)[filled], _SIGMA
    return depths.with_depths(depth, sigma), is_wrong


def _map_of(
    depths: MatchDepths, position_m: NDArray[np.float64], heading_deg: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the middle of the cells in which several photos have sure points, metres, (C, 2)."""
    height = -depths.bearing[:, 1] * depths.keypoint_depth_m
    good = depths.is_sure & (depths.keypoint_depth_m < _FARTHEST_M)
    good &= (height > 0) & (height < _HIGHEST_M) & np.isfinite(heading_deg[depths.owner])
    own = np.flatnonzero(good)
    owner, depth, across = depths.owner[own], depths.keypoint_depth_m[own], depths.bearing[own, 0]
    ray = horizontal_rays(across, heading_deg[owner])
    place = position_m[owner] + ray * depth[:, None]
    cell = np.floor(place / _CELL_M).astype(np.int64)
    _, number = np.unique(cell, axis=0, return_inverse=True)
    number = number.ravel()
    voters = np.unique(np.stack([number, owner], axis=1), axis=0)[:, 0]
    count = np.bincount(number).astype(np.float64)
    middle = np.stack([np.bincount(number, place[:, axis]) / count for axis in (0, 1)], axis=1)
    return np.asarray(middle[np.bincount(voters) >= _LEAST_PHOTOS]) if len(own) else middle


def _ranges(
    depths: MatchDepths,
    cells: NDArray[np.float64],
    position_m: NDArray[np.float64],
    heading_deg: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give the depth of the first wall in the direction of every keypoint, NaN without one."""
    found = np.full(len(depths.owner), np.nan)
    if not len(cells):
        return found
    tree = KDTree(cells)
    photos, starts = np.unique(depths.owner, return_index=True)
    ends = np.append(starts, len(depths.owner))[1:]
    for photo, start, end in zip(photos.tolist(), starts, ends, strict=True):
        around = tree.query_ball_point(position_m[photo], _FARTHEST_M)
        way = cells[around] - position_m[photo]
        range_m = np.hypot(way[:, 0], way[:, 1])
        way, range_m = way[range_m > _NEAREST_M], range_m[range_m > _NEAREST_M]
        if len(way) < _LEAST_CELLS or not np.isfinite(heading_deg[photo]):
            continue
        across = depths.bearing[start:end, 0]
        looks = heading_deg[photo] + np.degrees(np.arctan(across))
        stands = np.degrees(np.arctan2(way[:, 0], way[:, 1]))
        apart = np.abs(wrap_deg(stands - looks[:, None]))
        width = np.maximum(np.degrees(np.arctan2(_CELL_M, range_m)), _LEAST_ANGLE_DEG)
        seen = np.sort(np.where(apart < width, range_m, np.inf), axis=1)
        count = np.isfinite(seen).sum(axis=1)
        first = seen[np.arange(len(seen)), (_FIRST_WALL * np.maximum(count - 1, 0)).astype(int)]
        found[start:end] = np.where(count >= _LEAST_CELLS, first / np.hypot(1.0, across), np.nan)
    return found
