"""One set of positions that all true pairs agree with.

A match says that two photos see one point. With the depth that each photo's own sequence gives it,
that point has a place on the map twice; the offset between the two is the GPS error of the photos,
or, if the houses are look-alikes, the way from one house to the other. GPS errors are small and
change slowly along a sequence, so true pairs agree on them: every closed loop of true pairs adds up
to nothing, and false ones stand apart. No two-view pose is asked, which one flat facade gets wrong.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import diags_array
from scipy.sparse.linalg import splu

from citysplat_core.matching.depths import laplacian
from citysplat_core.matching.verify import Edges

LEAST_POINTS: Final = 4
"""Matches with a depth on both sides that an offset rests on."""
_PLACE_SIGMA_M: Final = 0.3
_DRIFT_SIGMA_M: Final = 0.6
"""Change of the GPS error from one photo of a sequence to the next."""
_GPS_SHARE: Final = 0.6
"""GPS error of one photo as a share of that between two."""
_ROUNDS: Final = 30
_WIDE, _NARROW, _COOLING, _HEAR_ALL = 4.0, 1.0, 0.8, 5
"""Scale of the robust loss, in deviations: from wide to narrow, so that the many decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offsets:
    """Where the matches of pairs put one point twice, one row a pair; NaN if they cannot tell.

    Attributes:
        east_north_m: Place by the second photo less place by the first, median, shape (E, 2).
        sigma_m: Its expected error, GPS left out, shape (E,).
    """

    east_north_m: NDArray[np.float64]
    sigma_m: NDArray[np.float64]


def measure_offsets(
    edge: NDArray[np.int32],
    offset_m: NDArray[np.float64],
    sigma_m: NDArray[np.float64],
    n_edges: int,
) -> Offsets:
    """Take the median of the offsets of each pair's matches.

    Args:
        edge: Pair of each match, shape (M,).
        offset_m: East and north, NaN where a depth is unknown, shape (M, 2).
        sigma_m: Expected error of each, shape (M,).
        n_edges: How many pairs there are.
    """
    known = np.flatnonzero(np.isfinite(offset_m).all(axis=1))
    edge, offset = edge[known], offset_m[known]
    count = np.bincount(edge, minlength=n_edges)
    middle = np.stack([median_of(edge, offset[:, axis], n_edges) for axis in (0, 1)], axis=1)
    spread = median_of(edge, np.hypot(*(offset - middle[edge]).T), n_edges)
    usual = median_of(edge, sigma_m[known], n_edges)
    many = np.maximum(count, 1)
    sigma = np.sqrt(_PLACE_SIGMA_M**2 + usual**2 / np.sqrt(many) + spread**2 / many)
    few = count < LEAST_POINTS
    middle[few], sigma[few] = np.nan, np.nan
    return Offsets(east_north_m=middle, sigma_m=sigma)


def settle_positions(
    edges: Edges,
    offsets: Offsets,
    asked: NDArray[np.bool_],
    along: NDArray[np.int64],
    n_photos: int,
    *,
    gps_sigma_m: float,
) -> NDArray[np.float64]:
    """Find the corrections of all GPS positions that most pairs agree on.

    Args:
        edges: Verified pairs.
        offsets: Their offsets.
        asked: Pairs that are heard, shape (E,).
        along: Rows (i, j) of photos that follow each other in a sequence, shape (S, 2).
        n_photos: How many photos there are.
        gps_sigma_m: Error of a position against another's, metres.

    Returns:
        East and north to be added, metres, shape (N, 2).
    """
    heard = np.flatnonzero(asked & np.isfinite(offsets.sigma_m))
    a, b = edges.rows[heard].T
    offset, sigma = offsets.east_north_m[heard], offsets.sigma_m[heard]
    gps_m = _GPS_SHARE * gps_sigma_m
    correction, width = np.zeros((n_photos, 2)), _WIDE
    for number in range(_ROUNDS):
        if number >= _HEAR_ALL:
            width = max(width * _COOLING, _NARROW)
        gap = np.hypot(*(offset + correction[b] - correction[a]).T) / sigma
        weight = 1.0 / (sigma * (1.0 + (gap / width / 2.0) ** 2)) ** 2
        step = np.hypot(*(correction[along[:, 1]] - correction[along[:, 0]]).T) / _DRIFT_SIGMA_M
        tie = 1.0 / (_DRIFT_SIGMA_M**2 * (1.0 + (step / 2.0) ** 2))
        prior = 1.0 / (gps_m**2 * (1.0 + (np.hypot(*correction.T) / gps_m / 2.0) ** 2))
        matrix = laplacian(a, b, weight, n_photos) + diags_array(prior)
        matrix = matrix + laplacian(along[:, 0], along[:, 1], tie, n_photos)
        solver = splu(matrix.tocsc())
        for axis in (0, 1):
            pull = weight * offset[:, axis]
            right = np.bincount(a, pull, n_photos) - np.bincount(b, pull, n_photos)
            correction[:, axis] = solver.solve(right)
    return correction


def median_of(
    group: NDArray[np.signedinteger[Any]], value: NDArray[np.float64], n_groups: int
) -> NDArray[np.float64]:
    """Return the median of the values of each group, NaN for groups without any."""
    out = np.full(n_groups, np.nan)
    order = np.lexsort((value, group))
    own, start, count = np.unique(group[order], return_index=True, return_counts=True)
    ordered = value[order]
    out[own] = 0.5 * (ordered[start + (count - 1) // 2] + ordered[start + count // 2])
    return out
