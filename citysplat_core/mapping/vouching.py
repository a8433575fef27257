"""When a photo and its GPS disagree: ask the photos that see the same things."""

from collections.abc import Mapping, Sequence

import pandas as pd
import pycolmap

Partners = Mapping[int, Sequence[int]]
"""Verified partners of every photo by colmap_id, the one with most inliers first."""

_ASKED = 3
_NEEDED = 2
_MIN_SHARED_POINTS = 15


def partners_of(pairs: pd.DataFrame, *, min_inliers: int) -> dict[int, list[int]]:
    """List the verified partners of every photo, strongest first.

    Args:
        pairs: Columns colmap_id_a, colmap_id_b, n_inliers.
        min_inliers: Weaker pairs do not count.
    """
    found: dict[int, list[tuple[int, int]]] = {}
    strong = pairs[pairs["n_inliers"] >= min_inliers]
    for a, b, n in strong[["colmap_id_a", "colmap_id_b", "n_inliers"]].to_numpy().tolist():
        found.setdefault(a, []).append((-n, b))
        found.setdefault(b, []).append((-n, a))
    return {image_id: [b for _, b in sorted(rows)] for image_id, rows in sorted(found.items())}


def is_vouched_for(
    model: pycolmap.Reconstruction,
    image_id: int,
    *,
    partners: Partners,
    beside: Partners,
    residual_m: Mapping[int, float],
    limit_m: float,
) -> bool:
    """Say whether its best partners confirm a photo's place although its GPS does not.

    A photo that a look-alike house pulled away still matches its true neighbours best, and shares
    no points with them at the wrong place. A photo whose GPS is wrong shares points with exactly
    those neighbours, and their GPS is right. Where whole rows of houses look alike, the best
    partners may stand at the wrong house themselves; the photos before and after it do not.

    Args:
        model: The reconstruction that holds the photo.
        image_id: The photo.
        partners: Verified partners, strongest first.
        beside: The photos before and after each photo of a sequence.
        residual_m: Horizontal GPS residuals of the model's photos, metres.
        limit_m: Residual up to which a partner is believed, metres.

    Returns:
        True if two of the three strongest partners in the model are near their GPS positions and
        share at least 15 points with the photo, and if one of the photos beside it does, should it
        belong to a sequence.
    """
    mine = points_of(model, image_id)

    def agrees(other: int) -> bool:
        near = residual_m.get(other, float("inf")) <= limit_m
        return near and len(mine & points_of(model, other)) >= _MIN_SHARED_POINTS

    asked = [p for p in partners.get(image_id, ()) if p in residual_m][:_ASKED]
    if sum(map(agrees, asked)) < _NEEDED:
        return False
    return image_id not in beside or any(map(agrees, beside[image_id]))


def points_of(model: pycolmap.Reconstruction, image_id: int) -> set[int]:
    """Give the ids of the points that a photo of a model sees."""
    image = model.image(image_id)
    return {image.point2D(i).point3D_id for i in image.get_observation_point2D_idxs()}
