"""The rows of a sparse model's tables, from the components that were judged."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from citysplat_core.mapping.components import Component
from citysplat_core.mapping.tables import IMAGE_SCHEMA, missing_pose_row, pose_row
from citysplat_core.mapping.workspace import Workspace


def image_rows(
    workspace: Workspace, components: Sequence[Component]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Give one row a photo; further registrations of a photo go to the second table.

    Args:
        workspace: What was mapped.
        components: Accepted ones first, each group by falling size.

    Returns:
        Rows of ``images.parquet``, sorted by colmap_id, and those of ``overlaps.parquet``.
    """
    first: dict[int, dict[str, Any]] = {}
    overlaps = []
    photos: list[Any] = list(workspace.images.itertuples(index=False))
    names = {int(photo.colmap_id): photo for photo in photos}
    for number, component in enumerate(components):
        for image_id in component.image_ids if component.accepted else ():
            row = _registered_row(names[image_id], number, component)
            if image_id in first:
                overlaps.append(row)
            else:
                first[image_id] = row
    pruned = {i: r for c in components for i, r in c.pruned.items()}
    states = dict.fromkeys(
        (i for c in components if not c.accepted for i in c.image_ids), "refused"
    )
    states |= dict.fromkeys((i for c in components for i in c.loose), "loose")
    states |= dict.fromkeys(pruned, "pruned")
    for image_id, photo in names.items():
        if image_id in first:
            continue
        first[image_id] = {
            **_identity(photo),
            **missing_pose_row(),
            "component": -1,
            "gps_residual_m": pruned.get(image_id, float("nan")),
            "n_observations": 0,
            "state": states.get(image_id, "unconnected"),
        }
    return pd.DataFrame([first[i] for i in sorted(first)], columns=IMAGE_SCHEMA.names), overlaps


def component_rows(components: Sequence[Component]) -> list[dict[str, Any]]:
    """Give the rows of ``components.parquet``."""
    return [
        {"component": number, **c.numbers, "accepted": c.accepted, "reason": c.reason}
        for number, c in enumerate(components)
    ]


def _identity(photo: Any) -> dict[str, Any]:  # noqa: ANN401 - a named tuple of a table
    return {
        "image_id": str(photo.image_id),
        "colmap_id": int(photo.colmap_id),
        "is_home": bool(photo.is_home),
    }


def _registered_row(photo: Any, number: int, component: Component) -> dict[str, Any]:  # noqa: ANN401
    image = component.model.image(int(photo.colmap_id))
    residual = component.placed.residual_m if component.placed else {}
    return {
        **_identity(photo),
        **pose_row(image.cam_from_world()),
        "component": number,
        "gps_residual_m": residual.get(int(photo.colmap_id), float("nan")),
        "n_observations": int(image.num_points3D),
        "state": "registered",
    }
