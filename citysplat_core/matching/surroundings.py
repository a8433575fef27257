"""Depth of keypoints that no second pair has seen, from the sure ones around them in the photo.

Facades and roads are smooth: what a single pair says of a depth is believed if it fits what surely
stands around it, and a keypoint without any depth takes that of its surroundings.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from citysplat_core.matching.depths import DEPTH_SIGMA, LEAST_ANGLE_DEG, PairDepths
from citysplat_core.matching.inliers import Inliers
from citysplat_core.matching.verify import Edges

_NEIGHBOURS: Final = 5
_LEAST_NEIGHBOURS: Final = 3
_RADIUS: Final = 0.12
"""How far around a keypoint, in tangents of the angle."""
_LEAST_SIGMA: Final = 0.1
_FITS: Final = 2.0
"""Deviations within which a depth fits its surroundings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchDepths:
    """Depths of K keypoints and of both keypoints of every match.

    Attributes:
        verdict: As in `PairDepths`, with the surroundings as a witness too, shape (M,).
        place: Which keypoints each match joins, shape (M, 2).
        owner: Photo row of each keypoint, ascending, shape (K,).
        bearing: Undistorted image points at depth 1, shape (K, 2).
        is_sure: Keypoints whose depth two pairs confirm, shape (K,).
        keypoint_depth_m: Along the optical axes, metres, NaN where unknown, shape (K,).
        keypoint_sigma: Relative errors, shape (K,).
    """

    verdict: NDArray[np.int8]
    place: NDArray[np.intp]
    owner: NDArray[np.int64]
    bearing: NDArray[np.float32]
    is_sure: NDArray[np.bool_]
    keypoint_depth_m: NDArray[np.float64]
    keypoint_sigma: NDArray[np.float64]

    @property
    def depth_m(self) -> NDArray[np.float64]:
        """Depth of both keypoints of every match, metres, NaN where unknown, shape (M, 2)."""
        return np.asarray(self.keypoint_depth_m[self.place])

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Relative errors of these depths, shape (M, 2)."""
        return np.asarray(self.keypoint_sigma[self.place])

    def with_depths(
        self, depth_m: NDArray[np.float64], sigma: NDArray[np.float64]
    ) -> "MatchDepths":
        """Return the same matches with other depths of the keypoints."""
        return replace(self, keypoint_depth_m=depth_m, keypoint_sigma=sigma)


def complete_depths(edges: Edges, inliers: Inliers, pairs: PairDepths) -> MatchDepths:
    """Give every match the best depth that is known of its keypoints.

    Args:
        edges: Verified pairs.
        inliers: Their matches.
        pairs: What the pairs of neighbours say.
    """
    keys = edges.rows[inliers.edge] * pairs.stride + inliers.point
    own, first, place = np.unique(keys.T.ravel(), return_index=True, return_inverse=True)
    place = place.reshape(2, -1).T
    bearing = inliers.bearing.transpose(1, 0, 2).reshape(-1, 2)[first]
    depth, sigma = _around(own, bearing, pairs)
    expected = np.hypot(sigma[place], np.hypot(pairs.sigma, 0.08)[:, None])
    apart = np.abs(pairs.log_depth - depth[place]) / expected
    worst = np.fmax(apart[:, 0], apart[:, 1])
    open_yet = pairs.verdict == 0
    verdict = pairs.verdict.copy()
    verdict[open_yet & (worst < _FITS)] = 1
    verdict[open_yet & (worst >= _FITS)] = -1
    fits = np.flatnonzero(open_yet & (worst < _FITS) & (pairs.angle_deg > LEAST_ANGLE_DEG))
    depth[place[fits]] = pairs.log_depth[fits]
    sigma[place[fits]] = pairs.sigma[fits, None]
    sure = np.searchsorted(own, pairs.sure_key)
    depth[sure], sigma[sure] = pairs.sure_log_depth, DEPTH_SIGMA
    is_sure = np.zeros(len(own), dtype=bool)
    is_sure[sure] = True
    return MatchDepths(
        verdict=verdict,
        place=place,
        owner=own // pairs.stride,
        bearing=bearing,
        is_sure=is_sure,
        keypoint_depth_m=np.exp(depth),
        keypoint_sigma=sigma,
    )


def _around(
    keys: NDArray[np.int64], bearing: NDArray[np.float32], pairs: PairDepths
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the median depth of the sure keypoints around each keypoint, and its spread."""
    depth, sigma = np.full(len(keys), np.nan), np.full(len(keys), np.nan)
    sure_at = np.searchsorted(keys, pairs.sure_key)
    photos, starts = np.unique(keys // pairs.stride, return_index=True)
    ends = np.append(starts, len(keys))[1:]
    sure_starts = np.searchsorted(pairs.sure_key, photos * pairs.stride)
    sure_ends = np.searchsorted(pairs.sure_key, (photos + 1) * pairs.stride)
    for start, end, low, high in zip(starts, ends, sure_starts, sure_ends, strict=True):
        if high - low < _LEAST_NEIGHBOURS:
            continue
        tree = KDTree(bearing[sure_at[low:high]])
        found = tree.query(bearing[start:end], k=_NEIGHBOURS, distance_upper_bound=_RADIUS)
        gap, near = np.asarray(found[0]), np.asarray(found[1])
        rows = np.flatnonzero(np.isfinite(gap).sum(axis=1) >= _LEAST_NEIGHBOURS)
        known = np.append(pairs.sure_log_depth[low:high], np.nan)[near[rows]]
        middle = np.nanmedian(known, axis=1) if len(rows) else np.empty(0)
        spread = np.abs(known - middle[:, None])
        spread = 1.48 * np.nanmedian(spread, axis=1) if len(rows) else np.empty(0)
        depth[start + rows], sigma[start + rows] = middle, np.maximum(spread, _LEAST_SIGMA)
    return depth, sigma
