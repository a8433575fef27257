"""Models come apart where nothing holds them together, and where GPS wants two places."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from citysplat_core.mapping.georegister import Positions, georegister_poses, poses_of
from citysplat_core.mapping.gravity import rotation_to_z, upright
from citysplat_core.mapping.sightings import (
    count_crossing,
    graph_of,
    holds_at,
    sightings,
    tree_cuts,
)
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
_POOR: Final = 1.2
"""Photos whose median distance from GPS is so many times its expected noise disagree with it."""
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
    Where the photos of both parts hold each other firmly (`sightings.holds_at`), a GPS that does
    not agree with the larger part alone cuts nothing.

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
    seen = sightings(model, ids)
    tree, sides = tree_cuts(seen)
    held = np.array([count_crossing(seen, side) >= _HOLDS for side in sides], dtype=bool)
    n_parts, part = connected_components(graph_of(tree[held], len(ids)), directed=False)
    if n_parts > 1:
        return [set(ids[part == k].tolist()) for k in range(n_parts)]
    side = _find_strained(poses, positions, sides, noise_m=noise_m, shared_m=shared_m)
    if side is None:
        return [set(ids.tolist())]
    parts = [set(ids[rows].tolist()) for rows in (~side, side)]
    if holds_at(seen, [side]) and _is_gps_poor(poses, positions, max(parts, key=len), noise_m):
        log.info("GPS disagrees with most of a model of %d photos anyway: kept whole", len(ids))
        return [set(ids.tolist())]
    return parts


def _find_strained(
    poses: Mapping[int, pycolmap.Rigid3d],
    positions: Positions,
    sides: Sequence[Bools],
    *,
    noise_m: float,
    shared_m: float,
) -> Bools | None:
    """Give one side of the cut that GPS wants most; None if it wants none."""
    ids = np.array(list(poses), dtype=np.int64)
    level = level_places(poses, positions, sigma_m=noise_m)
    known = _with_own_fix(ids, positions)
    gps = np.array([positions[i][:2] for i in ids[known].tolist()]).reshape(-1, 2)
    said = [
        strain(level[known], gps, side[known], noise_m=noise_m, shared_m=shared_m) for side in sides
    ]
    return sides[int(np.argmax(said))] if said and max(said) > MOST_STRAIN else None


def _is_gps_poor(
    poses: Mapping[int, pycolmap.Rigid3d],
    positions: Positions,
    ids: set[int],
    noise_m: float,
) -> bool:
    """Say whether some photos, placed for themselves, stand far from GPS."""
    own = {i: poses[i] for i in sorted(ids)}
    placed = georegister_poses(own, positions, sigma_m=noise_m, seed=_SEED)
    if placed is None:
        return False
    return bool(np.median(list(placed.residual_m.values())) > _POOR * noise_m)


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
