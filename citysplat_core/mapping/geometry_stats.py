"""How well a model's points are seen: tracks, observations, angles; the pixel error comes last.

A small pixel error says that a model agrees with itself. A model that shrank to a room, or that
holds points which two neighbouring photos see under half a degree, agrees with itself too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pycolmap
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FLAT_DEG: Final = 2.0
"""Points that are seen under a smaller angle have a depth that is a guess."""
_MAX_POINTS: Final = 4000


@dataclass(frozen=True, slots=True)
class GeometryStats:
    """What the points of some models are like; all photos and points count alike.

    Attributes:
        n_points: Points.
        track_length_mean: Photos that see a point.
        track_length_median: The same, median.
        observations_per_photo: Observations of points in a photo, median.
        observations_per_photo_p10: The same of the poorest tenth of the photos.
        points_per_photo: Points divided by photos.
        angle_median_deg: Largest angle between two rays to a point, median of a sample.
        flat_share: Share of points with such an angle under ``FLAT_DEG``.
        reproj_error_px: Mean distance of a point's image from where it was seen.
    """

    n_points: int
    track_length_mean: float
    track_length_median: float
    observations_per_photo: float
    observations_per_photo_p10: float
    points_per_photo: float
    angle_median_deg: float
    flat_share: float
    reproj_error_px: float


def measure_geometry(models: Sequence[pycolmap.Reconstruction]) -> GeometryStats | None:
    """Measure models together; None if they have no points.

    Args:
        models: Reconstructions whose point errors are current; any frame.
    """
    lengths = np.array([p.track.length() for m in models for p in m.points3D.values()])
    if not len(lengths):
        return None
    seen = np.array([m.image(i).num_points3D for m in models for i in m.reg_image_ids()])
    errors = np.array([p.error for m in models for p in m.points3D.values()])
    angles = np.concatenate([triangulation_angles_deg(m) for m in models])
    return GeometryStats(
        n_points=len(lengths),
        track_length_mean=float(lengths.mean()),
        track_length_median=float(np.median(lengths)),
        observations_per_photo=float(np.median(seen)),
        observations_per_photo_p10=float(np.percentile(seen, 10)),
        points_per_photo=len(lengths) / len(seen),
        angle_median_deg=float(np.median(angles)),
        flat_share=float((angles < FLAT_DEG).mean()),
        reproj_error_px=float((errors * lengths).sum() / lengths.sum()),
    )


def triangulation_angles_deg(
    model: pycolmap.Reconstruction, *, max_points: int = _MAX_POINTS
) -> Floats:
    """Give the largest angle between two rays of each point, for an even sample of the points.

    Args:
        model: A reconstruction.
        max_points: At most so many points are looked at.

    Returns:
        Degrees, shape (M,), in the order of the point ids.
    """
    ids = sorted(model.points3D)
    centers = {i: model.image(i).projection_center() for i in model.reg_image_ids()}
    chosen = ids[:: max(1, -(-len(ids) // max_points))]
    return np.array([_widest_deg(model.points3D[i], centers) for i in chosen])


def _widest_deg(point: pycolmap.Point3D, centers: dict[int, Floats]) -> float:
    rays = point.xyz - np.array([centers[e.image_id] for e in point.track.elements])
    rays /= np.maximum(np.linalg.norm(rays, axis=1, keepdims=True), 1e-12)
    # The chord is exact for small angles, where the cosine is not.
    chord = np.linalg.norm(rays[:, None] - rays[None], axis=2).max()
    return float(np.degrees(2 * np.arcsin(min(chord / 2, 1.0))))
