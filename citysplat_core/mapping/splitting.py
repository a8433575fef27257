"""Models come apart where nothing holds them together, and where GPS wants two places."""

import logging
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from citysplat_core.mapping.georegister import Positions, georegister_poses, poses_of
from citysplat_core.mapping.gravity import rotation_to_z, upright
from citysplat_core.mapping.strain import strain

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MOST_STRAIN = 1.4
"""Parts whose strain is larger are taken apart, and are not joined."""
_LEAST = 3
_HOLDS = 20
"""Points that must cross a cut of a model."""
_SEED: Final = 0


def split_models(
    models: Iterable[pycolmap.Reconstruction],
    positions: Positions,
    *,
    noise_m: float,
    shared_m: float,
) -> list[pycolmap.Reconstruction]:
    """Cut every model whose parts share few points, or whose parts GPS wants in different places.

    The candidates are the cuts of the strongest tree of photos that see the same points. Parts that
    share fewer than twenty points only seem to be one model: where each lies is a guess.

    Args:
        models: Any models; those that are cut are replaced by copies of their parts.
        positions: GPS positions by colmap_id, city frame, metres.
        noise_m: Expected error of a position along an axis, metres.
        shared_m: The error that the positions of one drive share, metres.

    Returns:
        The models and parts of at least three photos, in the order of the models.
    """
    left, done = list(models), []
    while left:
        model = left.pop(0)
        parts = _find_parts(model, positions, noise_m=noise_m, shared_m=shared_m)
        if len(parts) == 1:
            done.append(model)
            continue
        sizes = sorted(map(len, parts), reverse=True)
        log.info("A model of %d photos comes apart: %s", sum(sizes), sizes)
        left = [*(keep_photos(model, ids) for ids in parts if len(ids) >= _LEAST), *left]
    return done


def level_places(
    poses: Mapping[int, pycolmap.Rigid3d], positions: Positions, *, sigma_m: float
) -> Floats:
    """Give the places of cameras in the plane that is level to them, shape (N, 2).

    Args:
        poses: ``cam_from_world`` by colmap_id.
        positions: GPS positions. They tell whether the cameras are held upright or look down, see
            `georegister.georegister`; where they say nothing, cameras count as upright.
        sigma_m: Expected horizontal GPS error, metres.
    """
    centers = np.array([pose.inverse().translation for pose in poses.values()]).reshape(-1, 3)
    placed = georegister_poses(poses, positions, sigma_m=sigma_m, seed=_SEED)
    if placed is not None:
        return np.asarray((centers @ placed.city_from_model.rotation.matrix().T)[:, :2])
    rotations = np.array([pose.rotation.matrix() for pose in poses.values()]).reshape(-1, 3, 3)
    return np.asarray((centers @ rotation_to_z(upright(rotations)).T)[:, :2])


def keep_photos(model: pycolmap.Reconstruction, ids: set[int]) -> pycolmap.Reconstruction:
    """Copy a model with some of its photos and the points that they see."""
    part = pycolmap.Reconstruction(model)
    for image_id in sorted(set(part.reg_image_ids()) - ids):
        part.deregister_frame(part.image(image_id).frame_id)
    return part


def _find_parts(
    model: pycolmap.Reconstruction, positions: Positions, *, noise_m: float, shared_m: float
) -> list[set[int]]:
    """Find the parts that hardly share a point, or else the two of largest strain."""
    poses = poses_of(model)
    ids = np.array(list(poses), dtype=np.int64)
    if len(ids) < 2 * _LEAST:
        return [set(ids.tolist())]
    seen = _sightings(model, ids)
    tree, sides = _tree_cuts(seen)
    held = np.array([_n_crossing(seen, side) >= _HOLDS for side in sides], dtype=bool)
    n_parts, part = connected_components(_graph_of(tree[held], len(ids)), directed=False)
    if n_parts > 1:
        return [set(ids[part == k].tolist()) for k in range(n_parts)]
    level = level_places(poses, positions, sigma_m=noise_m)
    known = _with_own_fix(ids, positions)
    gps = np.array([positions[i][:2] for i in ids[known].tolist()]).reshape(-1, 2)
    said = [
        strain(level[known], gps, side[known], noise_m=noise_m, shared_m=shared_m) for side in sides
    ]
    if not said or max(said) <= MOST_STRAIN:
        return [set(ids.tolist())]
    side = sides[int(np.argmax(said))]
    return [set(ids[~side].tolist()), set(ids[side].tolist())]


def _with_own_fix(ids: Ints, positions: Positions) -> Bools:
    """Say which photos have a position that no earlier one has, shape (N,).

    A receiver that lost the sky repeats its last position while the camera moves on.
    """
    told, own = set(), []
    for image_id in ids.tolist():
        fix = tuple(np.round(positions[image_id][:2], 2)) if image_id in positions else None
        own.append(fix is not None and fix not in told)
        told.add(fix)
    return np.array(own, dtype=bool)


def _sightings(model: pycolmap.Reconstruction, ids: Ints) -> csr_array:
    """Say which photos see which points, shape (points, photos), ones."""
    row_of = {image_id: row for row, image_id in enumerate(ids.tolist())}
    points: list[int] = []
    photos: list[int] = []
    for number, point in enumerate(model.points3D.values()):
        rows = {row_of[e.image_id] for e in point.track.elements if e.image_id in row_of}
        points.extend([number] * len(rows))
        photos.extend(sorted(rows))
    shape = (max(points, default=0) + 1, len(ids))
    return csr_array((np.ones(len(points), np.int32), (points, photos)), shape=shape)


def _n_crossing(seen: csr_array, inside: Bools) -> int:
    """Count the points that photos on both sides of a cut see."""
    within = seen @ inside.astype(np.int32)
    return int(((within > 0) & (within < np.diff(seen.indptr))).sum())


def _tree_cuts(seen: csr_array) -> tuple[Ints, list[Bools]]:
    """Cut the tree of photos that share most points at each of its edges.

    Returns:
        The edges, rows of two photos, shape (T, 2), and for each what hangs on one side of it.
    """
    shared = coo_array(seen.T @ seen)
    first, second = shared.coords
    upper = first < second
    weights = _graph_of(
        np.stack([first[upper], second[upper]], axis=1), shared.shape[0], 1 / shared.data[upper]
    )
    edges = np.stack(minimum_spanning_tree(weights).nonzero(), axis=1).astype(np.int64)
    sides = []
    for k in range(len(edges)):
        rest = _graph_of(np.delete(edges, k, axis=0), shared.shape[0])
        _, part = connected_components(rest, directed=False)
        sides.append(np.asarray(part == part[edges[k, 1]]))
    return edges, sides


def _graph_of(edges: Ints, n: int, weights: Floats | None = None) -> csr_array:
    values = np.ones(len(edges)) if weights is None else weights
    return csr_array((values, (edges[:, 0], edges[:, 1])), shape=(n, n))
