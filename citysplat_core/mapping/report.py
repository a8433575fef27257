"""What is told of a box's model, in an order that cannot flatter: size and place before pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from citysplat_core.mapping.components import Component
from citysplat_core.mapping.geometry_stats import GeometryStats, measure_geometry
from citysplat_core.mapping.gps_stats import (
    CONTRADICTION_DEG,
    contradicts,
    doubted_sequences,
    heading_errors,
    measure_gps,
    residuals,
)
from citysplat_core.mapping.model_rows import component_rows
from citysplat_core.mapping.strategy import Attempt
from citysplat_core.mapping.workspace import Workspace

Counts = dict[str, int | float | str]

_HEADINGS = ("image_id", "heading_deg", "solved_deg")


def count_model(workspace: Workspace, rows: pd.DataFrame, attempts: Sequence[Attempt]) -> Counts:
    """Give the flat numbers of a sparse model; a number that is not known is left out.

    Args:
        workspace: What was mapped.
        rows: The rows of ``images.parquet``.
        attempts: The best first; none if there was nothing to map.
    """
    home = rows[rows["is_home"]]
    registered = rows[rows["component"] >= 0]
    components = attempts[0].components if attempts else []
    accepted = [c for c in components if c.accepted]
    n_home_registered = int((home["component"] >= 0).sum())
    geometry = measure_geometry([c.model for c in accepted])
    gps = measure_gps(registered, workspace.images).known()
    named = _contradictions(workspace, rows)
    priors = workspace.prior_counts
    counts: Counts = {
        "n_images": len(home),
        "n_fringe_images": len(rows) - len(home),
        "n_connected": len(workspace.mappable),
        "n_pairs": workspace.n_pairs,
        "workspace_bytes": workspace.size_bytes,
        "n_priors": priors.n_priors,
        "n_priors_undefined": priors.n_undefined,
        "n_without_position": priors.n_without_position,
        "n_heights_missing": priors.n_heights_missing,
        "n_registered": len(registered),
        "n_home_registered": n_home_registered,
        "registered_share": round(n_home_registered / len(home), 4) if len(home) else 0.0,
        "n_pruned": int((rows["state"] == "pruned").sum()),
        "n_loose": int((rows["state"] == "loose").sum()),
        "n_components": len(accepted),
        "n_refused_components": len(components) - len(accepted),
        **{k: gps[k] for k in sorted(gps) if accepted or k == "all_gps_extent_m"},
        **{f"n_{name}": len(values) for name, values in named.items()},
        "n_points": sum(c.model.num_points3D() for c in accepted),
        "strategy": attempts[0].strategy if attempts else "",
    }
    return counts | (_rounded(geometry) if geometry else {})


def describe_model(
    box: str,
    workspace: Workspace,
    rows: pd.DataFrame,
    attempts: Sequence[Attempt],
    counts: Mapping[str, int | float | str],
    skipped: str,
) -> dict[str, Any]:
    """Tell everything, also of what was refused; JSON has no NaN, so unknown numbers are null.

    Args:
        box: Key of the box.
        workspace: What was mapped.
        rows: The rows of ``images.parquet``.
        attempts: The best first.
        counts: What ``count_model`` gave.
        skipped: Why the box has no model; empty if it has.

    Returns:
        The contents of ``report.json``.
    """
    lost = rows[rows["state"] != "registered"]
    components = attempts[0].components if attempts else []
    return {
        "box": box,
        "skipped": skipped,
        "counts": dict(counts),
        "attempts": [
            {
                **attempt.summary(),
                "components": [plain(row) for row in component_rows(attempt.components)],
            }
            for attempt in attempts
        ],
        "components": [
            _describe_component(number, component, rows, workspace)
            for number, component in enumerate(components)
            if component.accepted
        ],
        "contradictions": _contradictions(workspace, rows),
        "priors": asdict(workspace.prior_counts),
        "workspace": {
            "size_bytes": workspace.size_bytes,
            "build_s": round(workspace.build_s, 3),
            "load_s": round(workspace.load_s, 3),
        },
        "states": {str(k): int(v) for k, v in rows["state"].value_counts().items()},
        "not_registered": [
            plain({"image_id": r.image_id, "state": r.state, "gps_residual_m": r.gps_residual_m})
            for r in lost.itertuples(index=False)
        ],
        "cameras": _cameras(workspace, components),
    }


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Replace numbers that are not finite by null."""
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}


def _describe_component(
    number: int, component: Component, rows: pd.DataFrame, workspace: Workspace
) -> dict[str, Any]:
    mine = rows[rows["component"] == number]
    geometry = measure_geometry([component.model])
    gps = measure_gps(mine, workspace.images)
    return {
        "component": number,
        "n_images": len(component.image_ids),
        "warning": component.reason,
        **{k: v for k, v in gps.known().items() if k != "all_gps_extent_m"},
        **(_rounded(geometry) if geometry else {}),
    }


def _contradictions(workspace: Workspace, rows: pd.DataFrame) -> dict[str, list[Any]]:
    """Name what the photos' own metadata says otherwise than the model, or twice."""
    registered = rows[rows["component"] >= 0]
    both = residuals(registered, workspace.images)
    far: pd.DataFrame = both[contradicts(both["residual_m"].to_numpy(float))]
    headings = heading_errors(registered, workspace.images)
    wrong = headings[headings["error_deg"] > CONTRADICTION_DEG]
    unplaced = workspace.images[workspace.images["east_m"].isna()]
    return {
        "position_contradicted": [
            {"image_id": str(name), "gps_residual_m": round(float(off), 2)}
            for name, off in zip(far["image_id"], far["residual_m"], strict=True)
        ],
        "heading_contradicted": [
            {
                "image_id": str(name),
                "heading_deg": round(float(h), 1),
                "solved_deg": round(float(v), 1),
            }
            for name, h, v in zip(*(wrong[k] for k in _HEADINGS), strict=True)
        ],
        "sequences_doubted": doubted_sequences(headings),
        "duplicates": _duplicates(workspace.images),
        "without_position": unplaced["image_id"].astype(str).tolist(),
    }


def _duplicates(images: pd.DataFrame) -> list[list[str]]:
    """Group the photos whose files are the same, byte for byte."""
    groups = images.dropna(subset=["sha256"]).groupby("sha256", sort=True)["image_id"]
    found = [sorted(str(name) for name in ids) for _, ids in groups if len(ids) > 1]
    return sorted(found)


def _cameras(workspace: Workspace, components: Sequence[Component]) -> list[dict[str, Any]]:
    return [
        {
            "component": number,
            "camera_id": int(camera.camera_id),
            "model": camera.model.name,
            "params": [round(float(value), 6) for value in camera.params],
            "is_refined": int(camera.camera_id) not in workspace.fixed_cameras,
        }
        for number, component in enumerate(components)
        for camera in component.model.cameras.values()
    ]


def _rounded(stats: GeometryStats) -> dict[str, float | int]:
    """Give the numbers of points in their order: the pixel error last."""
    values = {k: v for k, v in asdict(stats).items() if k != "n_points"}
    return {k: round(float(v), 4) for k, v in values.items()}
