"""Models that GPS wants in two places are cut where least holds them together."""

import logging
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from citysplat_core.mapping.georegister import Positions, poses_of
from citysplat_core.mapping.gravity import rotation_to_z, upright
from citysplat_core.mapping.strain import strain

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_STRAIN = 1.4
"""Parts whose strain is larger are taken apart, and are not joined."""
_LEAST = 3


def split_models(
    models: Iterable[pycolmap.Reconstruction],
    positions: Positions,
    *,
    noise_m: float,
    shared_m: float,
) -> list[pycolmap.Reconstruction]:
    """Cut every model whose parts GPS wants in different places.

    The candidates are the cuts of the strongest tree of photos that see the same points: what only
    a few shared points hold together comes apart in one of them.

    Args:
        models: Any models; those that are cut are replaced by copies of their parts.
        positions: GPS positions by colmap_id, city frame, metres.
        noise_m: Expected error of a position along an axis, metres.
        shared_m: The error that the positions of one drive share, metres.

    Returns:
        The models and parts, in the order of the models; a part may be of any size.
    """
    left, done = list(models), []
    while left:
        model = left.pop(0)
        cut = _find_cut(model, positions, noise_m=noise_m, shared_m=shared_m)
        if cut is None:
            done.append(model)
            continue
        log.info("GPS wants %d and %d photos of a model apart", *map(len, cut))
        left = [*(_part(model, ids) for ids in cut), *left]
    return done


def level_places(poses: dict[int, pycolmap.Rigid3d]) -> Floats:
    """Give the places of cameras in the plane that is level to them, shape (N, 2)."""
    rotations = np.array([pose.rotation.matrix() for pose in poses.values()]).reshape(-1, 3, 3)
    centers = np.array([pose.inverse().translation for pose in poses.values()]).reshape(-1, 3)
    return np.asarray((centers @ rotation_to_z(upright(rotations)).T)[:, :2])


def _part(model: pycolmap.Reconstruction, ids: set[int]) -> pycolmap.Reconstruction:
    part = pycolmap.Reconstruction(model)
    for image_id in sorted(set(part.reg_image_ids()) - ids):
        part.deregister_frame(part.image(image_id).frame_id)
    return part


def _find_cut(
    model: pycolmap.Reconstruction, positions: Positions, *, noise_m: float, shared_m: float
) -> tuple[set[int], set[int]] | None:
    """Find the cut with the largest strain; None if none is too large."""
    poses = poses_of(model)
    ids = np.array(list(poses), dtype=np.int64)
    if len(ids) < 2 * _LEAST:
        return None
    level = level_places(poses)
    known = np.array([i in positions for i in ids.tolist()])
    gps = np.array([positions[i][:2] for i in ids[known].tolist()]).reshape(-1, 2)
    worst, found = MOST_STRAIN, None
    for inside in _tree_cuts(_shared_points(model, ids)):
        said = strain(level[known], gps, inside[known], noise_m=noise_m, shared_m=shared_m)
        if said > worst:
            worst, found = said, inside
    if found is None:
        return None
    return set(ids[~found].tolist()), set(ids[found].tolist())


def _shared_points(model: pycolmap.Reconstruction, ids: Ints) -> coo_array:
    """Count the points that two photos both see, shape (N, N), upper half."""
    row_of = {image_id: row for row, image_id in enumerate(ids.tolist())}
    firsts: list[int] = []
    seconds: list[int] = []
    for point in model.points3D.values():
        rows = sorted({row_of[e.image_id] for e in point.track.elements if e.image_id in row_of})
        for a, b in combinations(rows, 2):
            firsts.append(a)
            seconds.append(b)
    n = len(ids)
    counts = coo_array((np.ones(len(firsts)), (firsts, seconds)), shape=(n, n))
    counts.sum_duplicates()
    return counts


def _tree_cuts(shared: coo_array) -> Iterable[NDArray[np.bool_]]:
    """Give, for each edge of the tree with most shared points, what hangs on one side of it."""
    n = shared.shape[0]
    weights = coo_array((1 / shared.data, shared.coords), shape=shared.shape)
    tree = minimum_spanning_tree(weights.tocsr())
    edges: Sequence[tuple[int, int]] = list(zip(*tree.nonzero(), strict=True))
    both = (tree + tree.T).tolil()
    for a, b in edges:
        kept = both[a, b]
        both[a, b] = both[b, a] = 0
        reached = breadth_first_order(both.tocsr(), b, return_predecessors=False)
        both[a, b] = both[b, a] = kept
        inside = np.zeros(n, bool)
        inside[reached] = True
        if min(inside.sum(), n - inside.sum()) >= _LEAST:
            yield inside
