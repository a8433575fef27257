"""Place a model in the city frame: up from its cameras, the rest from GPS in the plane.

A plain three-dimensional similarity on GPS leaves the roll about a straight street free (tilts of
20 to 180 degrees on real strips). Here up comes from the cameras, and GPS only gives heading,
scale and position in the plane; the height is a median.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray

from citysplat_core.mapping.gravity import rotation_to_z, up_candidates
from citysplat_core.mapping.similarity import PlaneSimilarity, fit_plane_similarity

Floats = NDArray[np.float64]
Positions = Mapping[int, Floats]
"""East, north, up in the city frame by colmap_id, metres; up is NaN where unknown."""

_CORRELATED = 4
"""So many successive GPS positions share their error."""
_CLEARLY_BETTER = 0.7
"""Another up vector than the cameras' own must cut the cost to this share."""


@dataclass(frozen=True)
class Georegistration:
    """How a model lies in the city frame.

    Attributes:
        city_from_model: The similarity.
        residual_m: Horizontal distance from GPS by colmap_id, metres; photos without GPS lack.
        scale_std: Relative standard deviation of the scale (0.02: 2 %).
        up_source: Which up vector was used, a name of ``up_candidates``.
    """

    city_from_model: pycolmap.Sim3d
    residual_m: dict[int, float]
    scale_std: float
    up_source: str


def georegister(
    model: pycolmap.Reconstruction, positions: Positions, *, sigma_m: float, seed: int
) -> Georegistration | None:
    """Find the similarity that brings a model into the city frame.

    Args:
        model: A reconstruction in any frame; it is not changed.
        positions: GPS positions; photos of the model that are not in it have no say.
        sigma_m: Expected horizontal GPS error, metres.
        seed: Seed of the random draws.

    Returns:
        The georegistration; None when fewer than three photos have a position, or when all
        positions are one point.
    """
    return georegister_poses(poses_of(model), positions, sigma_m=sigma_m, seed=seed)


def poses_of(model: pycolmap.Reconstruction) -> dict[int, pycolmap.Rigid3d]:
    """Give ``cam_from_world`` of the registered photos by colmap_id, in their order."""
    return {i: model.image(i).cam_from_world() for i in sorted(model.reg_image_ids())}


def georegister_poses(
    poses: Mapping[int, pycolmap.Rigid3d], positions: Positions, *, sigma_m: float, seed: int
) -> Georegistration | None:
    """Find the similarity of photos whose poses are known in one frame.

    Args:
        poses: ``cam_from_world`` by colmap_id.
        positions: As for ``georegister``, as the other arguments and the result.
        sigma_m: Expected horizontal GPS error, metres.
        seed: Seed of the random draws.
    """
    ids = [i for i in poses if i in positions]
    if len(ids) < 3:
        return None
    rotations = np.array([poses[i].rotation.matrix() for i in ids])
    centers = np.array([poses[i].inverse().translation for i in ids])
    gps = np.array([positions[i] for i in ids])
    best: tuple[float, str, Floats, PlaneSimilarity] | None = None
    for name, up in up_candidates(rotations, centers).items():
        turned = rotation_to_z(up)
        rng = np.random.default_rng(seed)
        level = centers @ turned.T
        fit = fit_plane_similarity(level[:, :2], gps[:, :2], sigma_m=sigma_m, rng=rng)
        if fit is not None and (best is None or fit.cost_m < _CLEARLY_BETTER * best[0]):
            best = fit.cost_m, name, turned, fit
    if best is None:
        return None
    _, name, turned, fit = best
    city_from_model = _lift(fit, turned, centers, gps[:, 2])
    residual = dict(zip(ids, fit.residual_m.tolist(), strict=True))
    return Georegistration(city_from_model, residual, _scale_std(fit, gps[:, :2]), name)


def _lift(fit: PlaneSimilarity, turned: Floats, centers: Floats, up_m: Floats) -> pycolmap.Sim3d:
    """Add the third dimension: the median of the known heights, or 0 if none is known."""
    turn = np.eye(3)
    turn[:2, :2] = fit.matrix / fit.scale
    rotation = turn @ turned
    heights = fit.scale * (centers @ rotation.T)[:, 2]
    known = np.isfinite(up_m)
    shift = np.median(up_m[known] - heights[known]) if known.any() else -np.median(heights)
    return pycolmap.Sim3d(
        fit.scale, pycolmap.Rotation3d(rotation), np.array([*fit.offset, float(shift)])
    )


def _scale_std(fit: PlaneSimilarity, gps: Floats) -> float:
    """Estimate how well GPS fixes the scale, as if errors came in runs of `_CORRELATED`."""
    weights = fit.weights
    moved = gps - (weights @ gps) / weights.sum()
    spread = float(weights @ (moved**2).sum(axis=1))
    freedom = max(float(weights.sum()) - 2, 1.0)
    noise = float(weights @ fit.residual_m**2) / (2 * freedom)
    return float(np.sqrt(_CORRELATED * noise / max(spread, 1e-12)))


def describe_positions(model: pycolmap.Reconstruction, positions: Positions) -> str:
    """Say why a model could not be georegistered, in words for its reason."""
    known = [positions[i][:2] for i in model.reg_image_ids() if i in positions]
    if len(known) < 3:
        return f"only {len(known)} of its {model.num_reg_images()} photos have a GPS position"
    reach = float(np.hypot(*np.ptp(np.array(known), axis=0)))
    return f"all {len(known)} GPS positions lie within {reach:.1f} m: no scale, no heading"
