"""Bundle adjustment of upright cameras near known places, from a rough start to a good one.

Much less exact than the mapper's, and never lost: every photo starts where GPS and its headings put
it, gravity and GPS pull at each, focal lengths may be wrong, and a robust loss that narrows round
by round lets the many decide over the few. 1,000 photos take some seconds.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bsr_array, coo_array, csr_array, diags_array, hstack, vstack
from scipy.sparse.linalg import splu

_ROUNDS: Final = 12
_WIDEST, _NARROWEST, _COOLING = 0.03, 0.002, 0.5
"""Scale of the robust loss in tangents of the angle: from 1.7 degrees to about a pixel."""
_DAMPING: Final = 1e-5
_NEAREST_M: Final = 0.5
_LONGEST_STEP_M: Final = 5.0
_TILT_SIGMA: Final = np.radians(4.0)
"""Lean of a camera; those of cars and walkers lean by less."""
_UP_SIGMA_M: Final = 6.0
"""Height of one camera against all others of a box."""
_DRIFT_SIGMA_M: Final = np.array([0.6, 0.6, 0.4])
"""Change of the GPS error, and of the height, from one photo of a sequence to the next."""
_LENS_SIGMA: Final = 0.05
"""Relative error of a focal length that is said to be known; some are wrong by half."""
_MOST_ZOOM: Final = 0.1
"""Change of a lens in one round."""
_FREE_TURN: Final = np.radians(20.0)
"""Holds photos that no point ties; nothing beside one point."""
_FEW_DEVIATIONS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """Who sees which point where.

    Attributes:
        photo: Rows of photos, shape (O,).
        point: Rows of points, shape (O,).
        bearing: Undistorted image points at depth 1 (x right, y down), shape (O, 2).
        lens: Number of the lens of each photo, 0 to L - 1, shape (N,).
    """

    photo: NDArray[np.int64]
    point: NDArray[np.int64]
    bearing: NDArray[np.float64]
    lens: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Poses and points in metres east, north, up.

    Attributes:
        rotation: Camera (x right, y down, z forward) from world, shape (N, 3, 3).
        centre_m: Places of the cameras, shape (N, 3).
        point_m: Places of the points, shape (P, 3).
        focal: True focal length of each lens as a share of the supposed one, shape (L,).
    """

    rotation: NDArray[np.float64]
    centre_m: NDArray[np.float64]
    point_m: NDArray[np.float64]
    focal: NDArray[np.float64]

    def seen(self, sightings: Sightings) -> NDArray[np.float64]:
        """Return the points in camera axes, one row a sighting, shape (O, 3)."""
        way = self.point_m[sightings.point] - self.centre_m[sightings.photo]
        return np.asarray(np.einsum("oij,oj->oi", self.rotation[sightings.photo], way))

    def misses(self, sightings: Sightings) -> NDArray[np.float64]:
        """Return how far points are from where they are seen, in tangents, shape (O,)."""
        seen = self.seen(sightings)
        image = seen[:, :2] / np.maximum(seen[:, 2:], _NEAREST_M)
        gap = image * self.focal[sightings.lens[sightings.photo], None] - sightings.bearing
        return np.hypot(gap[:, 0], gap[:, 1])


@dataclass(frozen=True, slots=True)
class _Normal:
    """Blocks of the normal equations.

    Photos have six unknowns each (turn, then move), lenses one, points three.
    """

    photos: NDArray[np.float64]
    lenses: NDArray[np.float64]
    points: NDArray[np.float64]
    photo_lens: NDArray[np.float64]
    photo_point: NDArray[np.float64]
    lens_point: NDArray[np.float64]
    photo_pull: NDArray[np.float64]
    lens_pull: NDArray[np.float64]
    point_pull: NDArray[np.float64]


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
    sums = (
        _adder(sightings.photo, len(start.rotation)),
        _adder(sightings.lens[sightings.photo], len(start.focal)),
        _adder(sightings.point, len(start.point_m)),
    )
    for _ in range(_ROUNDS):
        normal = _observe(bundle, sightings, scale, sums)
        _add_priors(normal, bundle, gps_m, gps_sigma_m)
        tie, tie_pull = _tie_along(bundle.centre_m - gps_m, along, len(start.focal))
        bundle = _step(bundle, sightings, normal, tie, tie_pull)
        scale = max(_NARROWEST, scale * _COOLING)
    return bundle


def _adder(group: NDArray[np.int64], n_groups: int) -> csr_array:
    """Return the matrix that adds up the rows of each group."""
    count = len(group)
    return coo_array((np.ones(count), (group, np.arange(count))), shape=(n_groups, count)).tocsr()


def _observe(
    bundle: Bundle, sightings: Sightings, scale: float, sums: tuple[csr_array, csr_array, csr_array]
) -> _Normal:
    seen = bundle.seen(sightings)
    depth = np.maximum(seen[:, 2], _NEAREST_M)
    image = seen[:, :2] / depth[:, None]
    focal = bundle.focal[sightings.lens[sightings.photo]]
    gap = (image * focal[:, None] - sightings.bearing)[:, :, None]
    weight = 1.0 / (scale**2 + (gap**2).sum(axis=(1, 2)))
    weight[seen[:, 2] < _NEAREST_M] = 0.0
    project = np.zeros((len(seen), 2, 3))
    project[:, 0, 0] = project[:, 1, 1] = focal / depth
    project[:, :, 2] = -image * (focal / depth)[:, None]
    by_point = project @ bundle.rotation[sightings.photo]
    by_photo = np.concatenate([-project @ cross_matrices(seen), -by_point], axis=2)
    by_lens = image[:, :, None]
    photo, lens, point = (
        (each * weight[:, None, None]).transpose(0, 2, 1) for each in (by_photo, by_lens, by_point)
    )
    of_photo, of_lens, of_point = (partial(_sum_blocks, adder) for adder in sums)
    return _Normal(
        photos=of_photo(photo @ by_photo),
        lenses=of_lens(lens @ by_lens)[:, 0, 0],
        points=of_point(point @ by_point),
        photo_lens=of_photo(photo @ by_lens)[:, :, 0],
        photo_point=photo @ by_point,
        lens_point=(lens @ by_point)[:, 0],
        photo_pull=-of_photo(photo @ gap)[:, :, 0],
        lens_pull=-of_lens(lens @ gap)[:, 0, 0],
        point_pull=-of_point(point @ gap)[:, :, 0],
    )


def _sum_blocks(adder: csr_array, blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the blocks (O, a, b) of each group."""
    flat = adder @ blocks.reshape(len(blocks), -1)
    return np.asarray(flat.reshape(-1, *blocks.shape[1:]))


def _add_priors(
    normal: _Normal, bundle: Bundle, gps_m: NDArray[np.float64], gps_sigma_m: float
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
    off = bundle.focal - 1.0
    sure = 1.0 / (1.0 + (off / _LENS_SIGMA / _FEW_DEVIATIONS) ** 2) / _LENS_SIGMA**2
    normal.lenses[:] += sure
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
    size = 6 * len(error_m) + n_lenses
    pull = np.zeros(size)
    np.add.at(pull, one, (weight * gap).ravel())
    np.subtract.at(pull, two, (weight * gap).ravel())
    return coo_array((values, (rows, columns)), shape=(size, size)), pull


def _step(
    bundle: Bundle,
    sightings: Sightings,
    normal: _Normal,
    tie: coo_array,
    tie_pull: NDArray[np.float64],
) -> Bundle:
    """Solve for photos and lenses with the points eliminated, and move everything."""
    inverse = np.asarray(np.linalg.inv(normal.points), dtype=np.float64)
    across = _ties(normal, sightings)
    solved = across @ _diagonal(inverse)
    n_moves = 6 * len(normal.photos)
    pull = np.append(normal.photo_pull.ravel(), normal.lens_pull) + tie_pull
    matrix = (_unknowns(normal, sightings.lens) - solved @ across.T + tie).tocsc()
    solver = splu(  # symmetric and positive: no pivots are needed, a third of the time
        matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    move = solver.solve(pull - solved @ normal.point_pull.ravel())
    free = normal.point_pull - (across.T @ move).reshape(-1, 3)
    shift = (inverse @ free[:, :, None])[:, :, 0]
    length = np.linalg.norm(shift, axis=1, keepdims=True)
    shift *= np.minimum(1.0, _LONGEST_STEP_M / np.maximum(length, 1e-9))
    of_photo = move[:n_moves].reshape(-1, 6)
    zoom = np.clip(move[n_moves:], -_MOST_ZOOM, _MOST_ZOOM)
    return Bundle(
        rotation=_turn(of_photo[:, :3]) @ bundle.rotation,
        centre_m=bundle.centre_m + of_photo[:, 3:],
        point_m=bundle.point_m + shift,
        focal=np.maximum(bundle.focal + zoom, _MOST_ZOOM),
    )


def _ties(normal: _Normal, sightings: Sightings) -> csr_array:
    """Tie photos, then lenses, to points: shape (6 N + L, 3 P)."""
    n_photos, n_points = len(normal.photos), len(normal.points)
    order = np.lexsort((sightings.point, sightings.photo))
    starts = np.searchsorted(sightings.photo[order], np.arange(n_photos + 1))
    blocks = (normal.photo_point[order], sightings.point[order], starts)
    of_photos = bsr_array(blocks, shape=(6 * n_photos, 3 * n_points)).tocsr()
    lens = np.repeat(sightings.lens[sightings.photo], 3)
    column = (3 * sightings.point[:, None] + np.arange(3)).ravel()
    of_lenses = coo_array(
        (normal.lens_point.ravel(), (lens, column)), shape=(len(normal.lenses), 3 * n_points)
    )
    return csr_array(vstack([of_photos, of_lenses.tocsr()]))


def _unknowns(normal: _Normal, lens: NDArray[np.int64]) -> csr_array:
    """Put the blocks of photos and lenses together."""
    rows = np.arange(normal.photo_lens.size)
    coupling = coo_array(
        (normal.photo_lens.ravel(), (rows, np.repeat(lens, 6))),
        shape=(len(rows), len(normal.lenses)),
    ).tocsr()
    photos = _diagonal(normal.photos)
    lenses = diags_array(normal.lenses)
    of_photos, of_lenses = hstack([photos, coupling]), hstack([coupling.T, lenses])
    return csr_array(vstack([of_photos, of_lenses]))


def _diagonal(blocks: NDArray[np.float64]) -> csr_array:
    count, size, _ = blocks.shape
    whole = (blocks, np.arange(count), np.arange(count + 1))
    return bsr_array(whole, shape=(size * count, size * count)).tocsr()


def cross_matrices(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrices of the cross product with vectors, shape (N, 3, 3)."""
    out = np.zeros((len(vector), 3, 3))
    x, y, z = vector.T
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = -z, y, -x
    return out - out.transpose(0, 2, 1)


def _turn(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotations about vectors by their lengths (Rodrigues), shape (N, 3, 3)."""
    angle = np.linalg.norm(vector, axis=1)[:, None, None]
    axis = cross_matrices(vector / np.maximum(angle[:, 0], 1e-12))
    return np.asarray(np.eye(3) + np.sin(angle) * axis + (1.0 - np.cos(angle)) * (axis @ axis))
