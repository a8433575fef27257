"""Bundle adjustment of upright cameras near known places, from a rough start to a good one.

Much less exact than the mapper's, and never lost: every photo starts where GPS and its headings put
it, gravity and GPS pull at each, focal lengths may be wrong, and a robust loss that narrows round
by round lets the many decide over the few. 1,000 photos take some seconds.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from citysplat_core.matching.sightings import (
    Bundle,
    Normal,
    Sightings,
    adders,
    cross_matrices,
    diagonal,
    observe,
    ties,
    unknowns,
)

_ROUNDS: Final = 12
_WIDEST, _NARROWEST, _COOLING = 0.03, 0.002, 0.5
"""Scale of the robust loss in tangents of the angle: from 1.7 degrees to about a pixel."""
_DAMPING: Final = 1e-5
_LONGEST_STEP_M: Final = 5.0
_TILT_SIGMA: Final = np.radians(4.0)
"""Lean of a camera; those of cars and walkers lean by less."""
_UP_SIGMA_M: Final = 6.0
"""Height of one camera against all others of a box."""
_DRIFT_SIGMA_M: Final = np.array([0.6, 0.6, 0.4])
"""Change of the GPS error, and of the height, from one photo of a sequence to the next."""
_LENS_SIGMA: Final = 0.05
"""Relative error of a focal length that is said to be known, and of a lens that is said to bend
nothing; some are wrong by half."""
_MOST_ZOOM: Final = 0.1
"""Change of a lens in one round."""
_FREE_TURN: Final = np.radians(20.0)
"""Holds photos that no point ties; nothing beside one point."""
_FEW_DEVIATIONS: Final = 2.0


def upright(heading_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotations of upright cameras (camera from world), shape (N, 3, 3)."""
    angle = np.radians(heading_deg)
    sine, cosine, none = np.sin(angle), np.cos(angle), np.zeros(len(angle))
    right = np.stack([cosine, -sine, none], axis=1)
    forward = np.stack([sine, cosine, none], axis=1)
    return np.stack([right, np.tile([0.0, 0.0, -1.0], (len(angle), 1)), forward], axis=1)


def adjust_bundle(
    start: Bundle,
    sightings: Sightings,
    *,
    gps_m: NDArray[np.float64],
    gps_sigma_m: float,
    along: NDArray[np.int64],
) -> Bundle:
    """Find the poses and points that most sightings agree on.

    Gauss-Newton with the points eliminated (Triggs et al., Bundle adjustment: a modern synthesis,
    2000) and Cauchy weights.

    Args:
        start: Where to start; headings within some ten degrees, places within metres.
        sightings: What is seen.
        gps_m: Places by GPS: east, north, and one height for all, shape (N, 3).
        gps_sigma_m: Error of a place.
        along: Rows (i, j) of photos that follow each other in a sequence, shape (S, 2).
    """
    bundle, scale = start, _WIDEST
    sums = adders(start, sightings)
    for _ in range(_ROUNDS):
        normal = observe(bundle, sightings, scale, sums)
        _add_priors(normal, bundle, gps_m, gps_sigma_m)
        tie, tie_pull = _tie_along(bundle.centre_m - gps_m, along, len(start.focal))
        bundle = _step(bundle, sightings, normal, tie, tie_pull)
        scale = max(_NARROWEST, scale * _COOLING)
    return bundle


def _add_priors(
    normal: Normal, bundle: Bundle, gps_m: NDArray[np.float64], gps_sigma_m: float
) -> None:
    """Add gravity, GPS, the supposed lenses, and damping."""
    gap = bundle.centre_m - gps_m
    heard = 1.0 / (1.0 + (np.hypot(*gap[:, :2].T) / gps_sigma_m / _FEW_DEVIATIONS) ** 2)
    pull = np.stack([heard / gps_sigma_m**2] * 2 + [np.full(len(gap), _UP_SIGMA_M**-2)], axis=1)
    normal.photos[:, (3, 4, 5), (3, 4, 5)] += pull
    normal.photo_pull[:, 3:] -= pull * gap
    up = bundle.rotation[:, :, 2]  # in camera axes: (0, -1, 0) if the camera stands upright
    lean = up[:, (0, 2)] / _TILT_SIGMA
    by_turn = -cross_matrices(up)[:, (0, 2)] / _TILT_SIGMA
    normal.photos[:, :3, :3] += by_turn.transpose(0, 2, 1) @ by_turn
    normal.photo_pull[:, :3] -= (by_turn.transpose(0, 2, 1) @ lean[:, :, None])[:, :, 0]
    normal.photos[:, (0, 1, 2), (0, 1, 2)] += _FREE_TURN**-2
    normal.photos[:, range(6), range(6)] *= 1.0 + _DAMPING
    off = np.stack([bundle.focal - 1.0, bundle.radial], axis=1)
    sure = 1.0 / (1.0 + (off / _LENS_SIGMA / _FEW_DEVIATIONS) ** 2) / _LENS_SIGMA**2
    normal.lenses[:, (0, 1), (0, 1)] += sure
    normal.lens_pull[:] -= sure * off
    trace = np.trace(normal.points, axis1=1, axis2=2)
    normal.points[:, (0, 1, 2), (0, 1, 2)] += (_DAMPING * (trace + 1.0))[:, None]


def _tie_along(
    error_m: NDArray[np.float64], along: NDArray[np.int64], n_lenses: int
) -> tuple[coo_array, NDArray[np.float64]]:
    """Tie the GPS errors of photos that follow each other: a matrix and its right side."""
    a, b = along.T
    gap = error_m[b] - error_m[a]
    step = np.hypot(*(gap / _DRIFT_SIGMA_M)[:, :2].T)
    weight = (1.0 / (1.0 + (step / _FEW_DEVIATIONS) ** 2))[:, None] / _DRIFT_SIGMA_M**2
    at = [6 * each[:, None] + np.arange(3, 6) for each in (a, b)]
    one, two, value = at[0].ravel(), at[1].ravel(), weight.ravel()
    rows, columns = np.concatenate([one, two, one, two]), np.concatenate([one, two, two, one])
    values = np.concatenate([value, value, -value, -value])
    size = 6 * len(error_m) + 2 * n_lenses
    pull = np.zeros(size)
    np.add.at(pull, one, (weight * gap).ravel())
    np.subtract.at(pull, two, (weight * gap).ravel())
    return coo_array((values, (rows, columns)), shape=(size, size)), pull


def _step(
    bundle: Bundle,
    sightings: Sightings,
    normal: Normal,
    tie: coo_array,
    tie_pull: NDArray[np.float64],
) -> Bundle:
    """Solve for photos and lenses with the points eliminated, and move everything."""
    inverse = np.asarray(np.linalg.inv(normal.points), dtype=np.float64)
    across = ties(normal, sightings)
    solved = across @ diagonal(inverse)
    n_moves = 6 * len(normal.photos)
    pull = np.append(normal.photo_pull.ravel(), normal.lens_pull.ravel()) + tie_pull
    matrix = (unknowns(normal, sightings.lens) - solved @ across.T + tie).tocsc()
    solver = splu(  # symmetric and positive: no pivots are needed, a third of the time
        matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    move = solver.solve(pull - solved @ normal.point_pull.ravel())
    free = normal.point_pull - (across.T @ move).reshape(-1, 3)
    shift = (inverse @ free[:, :, None])[:, :, 0]
    length = np.linalg.norm(shift, axis=1, keepdims=True)
    shift *= np.minimum(1.0, _LONGEST_STEP_M / np.maximum(length, 1e-9))
    of_photo = move[:n_moves].reshape(-1, 6)
    of_lens = np.clip(move[n_moves:].reshape(-1, 2), -_MOST_ZOOM, _MOST_ZOOM)
    return Bundle(
        rotation=_turn(of_photo[:, :3]) @ bundle.rotation,
        centre_m=bundle.centre_m + of_photo[:, 3:],
        point_m=bundle.point_m + shift,
        focal=np.maximum(bundle.focal + of_lens[:, 0], _MOST_ZOOM),
        radial=bundle.radial + of_lens[:, 1],
    )


def _turn(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotations about vectors by their lengths (Rodrigues), shape (N, 3, 3)."""
    angle = np.linalg.norm(vector, axis=1)[:, None, None]
    axis = cross_matrices(vector / np.maximum(angle[:, 0], 1e-12))
    return np.asarray(np.eye(3) + np.sin(angle) * axis + (1.0 - np.cos(angle)) * (axis @ axis))
