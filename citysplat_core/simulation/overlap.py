"""Which photos of a town really see the same surface, and which keypoint matches are true.

Both follow from the depth of the perfect view, so neither asks a matcher. Depth is kept at every
eighth pixel: a town of 1,000 photos takes 20 MB, and a surface smaller than that carries no match.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from citysplat_core.simulation.cameras import pixel_rays
from citysplat_core.simulation.captures import Capture
from citysplat_core.simulation.render import View

STEP_PX: Final = 8
"""Pixels between two kept depths; the first is that of pixel (4, 4)."""
_HALF: Final = STEP_PX // 2
_NEAREST_M: Final = 0.5
_WIDEST: Final = 2.0
"""Largest radius at z = 1 at which a camera's distortion is still believed."""
_DEPTH_SLACK_M, _DEPTH_SLACK = 0.3, 0.05
"""A surface is the same where two depths differ by no more than this and this share."""
_LARGEST_ZOOM: Final = 3.0
"""A surface seen this many times larger in one photo than in the other is not shared."""
_ONE_PLANE: Final = 1.15
"""Depths whose ratio is larger than this belong to two surfaces: none lies between them."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A capture with the depth of what it sees.

    Attributes:
        capture: The capture; not of a panorama.
        depth_m: z-depths at every ``STEP_PX``-th pixel, infinite in the sky, float32, shape (h, w).
    """

    capture: Capture
    depth_m: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """What the photos of some pairs share, one row a pair (i, j) with i < j.

    Attributes:
        pairs: Rows of the sights, only pairs that share something both ways, shape (P, 2).
        shared: Share of i's near surface that j sees, and of j's that i sees, shape (P, 2).
        alike: The same, only surface whose angle of view changes little, shape (P, 2).
    """

    pairs: NDArray[np.int64]
    shared: NDArray[np.float64]
    alike: NDArray[np.float64]


def kept_depth(view: View) -> NDArray[np.float32]:
    """Give the depths of a view that a `Sight` keeps, metres, float32, shape (h, w)."""
    return np.ascontiguousarray(view.depth_m[_HALF::STEP_PX, _HALF::STEP_PX])


def near_pairs(captures: Sequence[Capture], radius_m: float = 120.0) -> NDArray[np.int64]:
    """Give all pairs (i, j), i < j, of captures at most this far apart, sorted, shape (P, 2)."""
    centres = np.array([capture.centre for capture in captures]).reshape(-1, 3)
    pairs = KDTree(centres[:, :2]).query_pairs(radius_m, output_type="ndarray")
    return np.asarray(np.unique(np.sort(pairs.reshape(-1, 2), axis=1), axis=0), np.int64)


def measure_overlaps(
    sights: Sequence[Sight],
    pairs: NDArray[np.int64],
    *,
    max_depth_m: float = 60.0,
    max_turn_deg: float = 40.0,
) -> Overlaps:
    """Measure how much of each other's near surface the photos of pairs see.

    The surface of a photo is sampled at every second kept depth. A sample is seen by the other
    photo where it falls inside, is not hidden there, and is at most three times as large or small.

    Args:
        sights: The photos.
        pairs: Rows (i, j) of sights, i < j, sorted, as `near_pairs` gives them.
        max_depth_m: Surface farther than this counts for nothing, metres.
        max_turn_deg: Surface is alike if the directions from it to the two cameras differ by less.
    """
    scene = _Scene(sights, max_depth_m)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    order = np.argsort(both[:, 0], kind="stable")
    values = np.zeros((len(both), 2))
    for rows in _groups(both[order, 0]):
        chosen = order[rows]
        values[chosen] = scene.seen_by(
            int(both[chosen[0], 0]), both[chosen, 1], np.cos(np.radians(max_turn_deg))
        )
    there, back = values[: len(pairs)], values[len(pairs) :]
    kept = (there[:, 0] > 0) & (back[:, 0] > 0)
    return Overlaps(
        pairs=pairs[kept],
        shared=np.stack([there[kept, 0], back[kept, 0]], axis=1),
        alike=np.stack([there[kept, 1], back[kept, 1]], axis=1),
    )


def true_matches(
    first: Sight,
    first_px: NDArray[np.float64],
    second: Sight,
    second_px: NDArray[np.float64],
    *,
    max_error_px: float = 12.0,
) -> NDArray[np.bool_]:
    """Say which keypoint matches of two photos are of one place, by depth.

    A match is true if a point that the depth of either photo gives falls near the keypoint of the
    other. Hidden surface is not asked: a point that is hidden cannot be a keypoint.

    Args:
        first: One photo.
        first_px: Its keypoints (x, y), the corner of the photo is (0, 0), shape (M, 2).
        second: The other photo.
        second_px: Its keypoints, shape (M, 2).
        max_error_px: Largest distance of projection and keypoint; depth is known at every eighth
            pixel only, and a false match is rarely this near.

    Returns:
        Shape (M,). A match in the sky is false: so far nothing has a place.
    """
    good = np.zeros(len(first_px), bool)
    for a, a_px, b, b_px in (
        (first, first_px, second, second_px),
        (second, second_px, first, first_px),
    ):
        world, known = _world_points(a, a_px)
        local = (world - b.capture.centre) @ b.capture.rotation.T
        pixel, inside = _projected(local, *_intrinsics(b.capture))
        near = np.linalg.norm(pixel - b_px, axis=-1) <= max_error_px
        good |= (known & inside & near).any(axis=0)
    return good


def _intrinsics(capture: Capture) -> tuple[float, float, float, float, float]:
    camera = capture.camera
    return camera.focal_px, camera.k1, camera.k2, camera.width / 2, camera.height / 2


def _projected(
    local: NDArray[np.floating],
    focal: NDArray[np.floating] | float,
    k1: NDArray[np.floating] | float,
    k2: NDArray[np.floating] | float,
    middle_x: NDArray[np.floating] | float,
    middle_y: NDArray[np.floating] | float,
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Give pixels of camera points, shape (..., 2), and whether they lie well before the camera."""
    depth = local[..., 2]
    ahead = depth > _NEAREST_M
    safe = np.where(ahead, depth, 1.0)
    x, y = local[..., 0] / safe, local[..., 1] / safe
    r2 = x * x + y * y
    bend = focal * (1 + k1 * r2 + k2 * r2 * r2)
    return np.stack([x * bend + middle_x, y * bend + middle_y], axis=-1), ahead & (
        r2 < _WIDEST * _WIDEST
    )


def _world_points(
    sight: Sight, pixels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Give the places that keypoints can have, shape (3, M, 3), and which exist, shape (3, M).

    The first lies between the four depths around it: there 1 / z is interpolated, which is exact on
    planes. At the edge of a surface it has no meaning: the others are the nearest and the farthest.
    """
    camera = sight.capture.camera
    column = np.clip(pixels[:, 0].astype(int), 0, camera.width - 1)
    row = np.clip(pixels[:, 1].astype(int), 0, camera.height - 1)
    near = 1.0 / sight.depth_m.astype(np.float64)
    height, width = near.shape
    y = np.clip((row - _HALF) / STEP_PX, 0, height - 1)
    x = np.clip((column - _HALF) / STEP_PX, 0, width - 1)
    top, left = np.minimum(y.astype(int), height - 2), np.minimum(x.astype(int), width - 2)
    corners = np.stack([near[top + i, left + j] for i in (0, 1) for j in (0, 1)])
    fy, fx = y - top, x - left
    weights = np.stack([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx])
    nearest, farthest = corners.max(axis=0), corners.min(axis=0)
    inverse = np.stack([(weights * corners).sum(axis=0), nearest, farthest])
    known = inverse > 0
    known[0] &= nearest <= _ONE_PLANE * farthest
    depth = 1.0 / np.where(known, inverse, 1.0)
    rays = pixel_rays(camera)[row, column]
    local = np.concatenate([rays, np.ones((len(rays), 1))], axis=1) * depth[..., None]
    return local @ sight.capture.rotation + sight.capture.centre, known


def _groups(sorted_values: NDArray[np.int64]) -> Iterator[slice]:
    """Cut sorted values into runs of one value."""
    edges = np.flatnonzero(np.diff(sorted_values)) + 1
    starts, ends = [0, *edges.tolist()], [*edges.tolist(), len(sorted_values)]
    return (slice(a, b) for a, b in zip(starts, ends, strict=True) if b > a)


class _Scene:
    """The sights as arrays, so that a photo's surface is shown to all its partners at once."""

    def __init__(self, sights: Sequence[Sight], max_depth_m: float) -> None:
        captures = [sight.capture for sight in sights]
        self.rotation = np.array([c.rotation for c in captures], np.float32).reshape(-1, 3, 3)
        self.centre = np.array([c.centre for c in captures], np.float32).reshape(-1, 3)
        intrinsics = np.array([_intrinsics(c) for c in captures], np.float32).reshape(-1, 5)
        self.intrinsics = intrinsics.T[..., None]
        shape = np.max([(1, 1), *(sight.depth_m.shape for sight in sights)], axis=0)
        self.depth = np.zeros((len(sights), *shape), np.float32)
        for row, sight in enumerate(sights):
            height, width = sight.depth_m.shape
            self.depth[row, :height, :width] = sight.depth_m
        self.points = [_surface(sight, max_depth_m) for sight in sights]

    def seen_by(
        self, row: int, others: NDArray[np.int64], least_cosine: float
    ) -> NDArray[np.float64]:
        """Give the shares of a photo's surface that others see, and see alike, shape (K, 2)."""
        points = self.points[row]
        if not len(points):
            return np.zeros((len(others), 2))
        ours = points - self.centre[row]
        theirs = points - self.centre[others, None]
        local = theirs @ self.rotation[others].transpose(0, 2, 1)
        focal, k1, k2, middle_x, middle_y = self.intrinsics[:, others]
        pixel, seen = _projected(local, focal, k1, k2, middle_x, middle_y)
        x, y, depth = pixel[..., 0], pixel[..., 1], local[..., 2]
        seen &= (x >= 0) & (x < 2 * middle_x) & (y >= 0) & (y < 2 * middle_y)
        column = np.where(seen, x, 0).astype(np.int32) // STEP_PX
        line = np.where(seen, y, 0).astype(np.int32) // STEP_PX
        column = np.minimum(column, self.depth.shape[2] - 1)
        line = np.minimum(line, self.depth.shape[1] - 1)
        surface = self.depth[others[:, None], line, column]
        seen &= np.abs(surface - depth) < _DEPTH_SLACK * depth + _DEPTH_SLACK_M
        own_depth = ours @ self.rotation[row, 2]
        seen &= (depth < _LARGEST_ZOOM * own_depth) & (own_depth < _LARGEST_ZOOM * depth)
        lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
        alike = seen & ((ours * theirs).sum(axis=-1) > least_cosine * lengths)
        return np.stack([seen.mean(axis=1), alike.mean(axis=1)], axis=1)


def _surface(sight: Sight, max_depth_m: float) -> NDArray[np.float32]:
    """Give the places of every second kept depth that is near, float32, shape (n, 3)."""
    capture = sight.capture
    rays = pixel_rays(capture.camera)[_HALF::STEP_PX, _HALF::STEP_PX][::2, ::2]
    depth = sight.depth_m[::2, ::2].astype(np.float64)
    near = depth < max_depth_m
    local = np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1)[near] * depth[near, None]
    return np.asarray(local @ capture.rotation + capture.centre, np.float32)
