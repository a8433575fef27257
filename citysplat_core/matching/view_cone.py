"""How much of one street two photos can both see, predicted from positions and headings alone.

Every photo looks along a few rays. Along each ray the first surface is the ground or an upright
wall at one of several distances; nobody knows which, so all of them are tried. The share of these
surface points that lies in the other photo's view too, at a like scale and from a like direction,
predicts the overlap: on a simulated town the pairs chosen by it held 99 % of those with more than
a tenth of their surface in common.
"""

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, ParamSpec, TypeAlias, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any
"""What only the compiler knows: an array or a number inside a kernel."""

NEAR_WALLS_M: Final = (6.0, 12.0, 20.0, 35.0)
"""Distances of walls in a street."""
FAR_WALLS_M: Final = (20.0, 50.0, 110.0, 220.0)
"""Distances of walls across a square, a river or a valley."""

_COLUMNS: Final = 6
_ROWS: Final = 4
_CAMERA_HEIGHT_M: Final = 2.0
_ROOF_M: Final = 9.0
"""Nothing is expected higher above the camera than this on near walls."""
_MIN_COSINE: Final = math.cos(math.radians(40.0))
"""Features survive a change of the direction of view of about this much."""
_NEAREST_M: Final = np.float32(0.5)
"""Depth from which a camera sees."""
_MAX_SCALE: Final = 3.0
"""And a change of scale of about this much."""
_TRIES: Final = 8
"""Headings that are tried for a photo whose heading is unknown."""
_DEFAULT_HALF_VIEW: Final = (0.58, 0.40)
"""Tangents of half the angles of view of a camera without known focal length (60 by 44 degrees)."""

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


def kernel(function: Callable[_Args, _Result]) -> Callable[_Args, _Result]:
    """Compile a function on its first call, keep the machine code on disk, release the GIL."""
    return cast(
        "Callable[_Args, _Result]",
        numba.njit(cache=True, nogil=True, error_model="numpy")(function),
    )


class Views(NamedTuple):
    """What the kernels know of N photos and C kinds of camera.

    Attributes:
        east_m: Positions, shape (N,), float64.
        north_m: Positions, shape (N,), float64.
        sine: Sine of the heading, shape (N,), float32; 0 where unknown.
        cosine: Cosine of the heading, shape (N,), float32; 0 where unknown.
        known: Whether the heading is known, shape (N,).
        camera: Kind of camera, shape (N,), int32.
        half_view: Tangents of half the angles of view, across and up, shape (C, 2), float32.
        sights: Surface points: right, up and forward of the camera, metres, and the square of
            their distance, shape (C, 4, S), float32.
        n_sights: How many of the S places are used, shape (C,).
    """

    east_m: Array
    north_m: Array
    sine: Array
    cosine: Array
    known: Array
    camera: Array
    half_view: Array
    sights: Array
    n_sights: Array


def views_of(
    east_north_m: NDArray[np.float64],
    heading_deg: NDArray[np.float64],
    half_view: NDArray[np.float32] | None = None,
    *,
    walls_m: tuple[float, ...] = NEAR_WALLS_M,
) -> Views:
    """Prepare photos for `predict_overlap`.

    Args:
        east_north_m: Positions in the city frame, metres, shape (N, 2).
        heading_deg: Believed headings clockwise from north, degrees, NaN where unknown, shape (N,).
        half_view: Tangents of half the angles of view, across and up, shape (N, 2), NaN where
            unknown; None if no focal length is known.
        walls_m: Distances at which walls are looked for.
    """
    count = len(heading_deg)
    if half_view is None:
        half_view = np.full((count, 2), np.nan, dtype=np.float32)
    rounded = np.round(np.where(np.isfinite(half_view), half_view, _DEFAULT_HALF_VIEW), 2)
    kinds, camera = np.unique(rounded, axis=0, return_inverse=True)
    turn = np.radians(np.where(np.isfinite(heading_deg), heading_deg, 0.0))
    known = np.isfinite(heading_deg)
    sights = np.zeros((len(kinds), 4, _COLUMNS * _ROWS * len(walls_m)), dtype=np.float32)
    n_sights = np.zeros(len(kinds), dtype=np.int64)
    for number, (across, up) in enumerate(kinds.tolist()):
        points = _sights(across, up, walls_m)
        sights[number, :, : len(points)] = points.T
        n_sights[number] = len(points)
    return Views(
        # Copies: tables give arrays that are read-only or not, and a kernel is compiled for each
        # kind, by processes that write their machine code to one place without asking each other.
        east_m=np.array(east_north_m[:, 0], dtype=np.float64),
        north_m=np.array(east_north_m[:, 1], dtype=np.float64),
        sine=np.where(known, np.sin(turn), 0.0).astype(np.float32),
        cosine=np.where(known, np.cos(turn), 0.0).astype(np.float32),
        known=known,
        camera=camera.reshape(-1).astype(np.int32),
        half_view=kinds.astype(np.float32).reshape(-1, 2),
        sights=sights,
        n_sights=n_sights,
    )


def _sights(across: float, up: float, walls_m: tuple[float, ...]) -> NDArray[np.float64]:
    """Meet the ground and the walls along a grid of rays: right, up, forward, square, (S, 4)."""
    column = ((np.arange(_COLUMNS) + 0.5) / _COLUMNS * 2 - 1) * across
    row = ((np.arange(_ROWS) + 0.5) / _ROWS * 2 - 1) * up
    right, rise = (grid.ravel() for grid in np.meshgrid(column, row))
    ground_m = np.where(rise < 0, -_CAMERA_HEIGHT_M / np.minimum(rise, -1e-6), np.inf)
    found = []
    for wall_m in walls_m:
        depth = np.minimum(wall_m / np.hypot(1.0, right), ground_m)
        too_high = rise * depth > max(_ROOF_M, wall_m / 4)
        point = np.stack([right, rise, np.ones_like(right)], axis=1) * depth[:, None]
        found.append(np.c_[point, (point**2).sum(axis=1)][~too_high])
    return np.concatenate(found)


@kernel
def _shared(views: Array, i: int, si: float, ci: float, j: int, sj: float, cj: float) -> float:
    """Share of i's surface points that j sees too, with given sines and cosines of headings."""
    sights, n_sights = views.sights[views.camera[i]], views.n_sights[views.camera[i]]
    across, up = views.half_view[views.camera[j], 0], views.half_view[views.camera[j], 1]
    move_e = np.float32(views.east_m[i] - views.east_m[j])
    move_n = np.float32(views.north_m[i] - views.north_m[j])
    scale, square_cosine = np.float32(_MAX_SCALE), np.float32(_MIN_COSINE**2)
    n_both = 0
    for k in range(n_sights):  # no branches, so that several points are one instruction
        rise, depth_i = sights[1, k], sights[2, k]
        e = sights[0, k] * ci + depth_i * si
        n = depth_i * ci - sights[0, k] * si
        other_e, other_n = move_e + e, move_n + n
        depth = other_e * sj + other_n * cj
        right = other_e * cj - other_n * sj
        dot = e * other_e + n * other_n + rise * rise
        squares = sights[3, k] * (other_e * other_e + other_n * other_n + rise * rise)
        n_both += (
            (depth > _NEAREST_M)
            & (abs(right) <= across * depth)
            & (abs(rise) <= up * depth)
            & (depth <= scale * depth_i)
            & (depth_i <= scale * depth)
            & (dot > 0)
            & (dot * dot >= square_cosine * squares)
        )
    return float(n_both / max(n_sights, 1))


@kernel
def overlap(views: Array, i: int, j: int) -> float:
    """Predict the smaller of the two shares of surface that two photos have in common.

    Of a photo without heading the best of eight is taken; of two, both look the same way.
    """
    si, ci, sj, cj = views.sine[i], views.cosine[i], views.sine[j], views.cosine[j]
    if views.known[i] and views.known[j]:
        share = _shared(views, i, si, ci, j, sj, cj)
        return min(share, _shared(views, j, sj, cj, i, si, ci)) if share > 0.0 else 0.0
    best = 0.0
    for number in range(_TRIES):
        turn = 2.0 * math.pi * number / _TRIES
        if not views.known[i]:
            si, ci = np.float32(math.sin(turn)), np.float32(math.cos(turn))
        if not views.known[j]:
            sj, cj = np.float32(math.sin(turn)), np.float32(math.cos(turn))
        share = _shared(views, i, si, ci, j, sj, cj)
        if share > best:
            best = max(best, min(share, _shared(views, j, sj, cj, i, si, ci)))
    return best


@kernel
def _predict(views: Array, first: Array, second: Array) -> Array:
    found = np.empty(len(first), dtype=np.float32)
    for k in range(len(first)):
        found[k] = overlap(views, first[k], second[k])
    return found


def predict_overlap(views: Views, pairs: NDArray[np.int32]) -> NDArray[np.float32]:
    """Predict how much of the visible surface the photos of some pairs have in common.

    Args:
        views: The photos, from `views_of`.
        pairs: Rows (i, j), shape (P, 2).

    Returns:
        The smaller share of the two photos, 0 to 1, shape (P,); 0 says that they cannot see one
        thing, as by their positions and headings.
    """
    rows = pairs.astype(np.int64)
    found: NDArray[np.float32] = _predict(views, rows[:, 0].copy(), rows[:, 1].copy())
    return found
