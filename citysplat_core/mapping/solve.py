"""The step that turns a box's verified pairs into georegistered sparse models."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from citysplat_core.features import quiet_colmap
from citysplat_core.imagery.attribution_merge import write_merged
from citysplat_core.mapping.components import Component
from citysplat_core.mapping.pictures import draw_from_above
from citysplat_core.mapping.strategy import Attempt, attempt_all
from citysplat_core.mapping.tables import (
    COMPONENT_SCHEMA,
    IMAGE_SCHEMA,
    missing_pose_row,
    pose_row,
    write_table,
)
from citysplat_core.mapping.workspace import Workspace, build_workspace
from citysplat_core.settings import MappingSettings
from citysplat_core.storage import Progress, StepReport, write_json

log = logging.getLogger(__name__)

_MIN_TRACK = 3


def solve_box(  # noqa: PLR0913 - a box has that many inputs
    box: str,
    *,
    box_images: Mapping[str, Path],
    box_matches: Path,
    fringe_matches: Mapping[str, Path],
    fringe_images: Path,
    out: Path,
    work: Path,
    settings: MappingSettings,
    n_threads: int,
    progress: Progress,
    neighbour_matches: Mapping[str, Path] | None = None,
) -> StepReport:
    """Solve the sparse models of a box and place them in the city frame.

    Args:
        box: Key of the box.
        box_images: ``box_images`` artifacts of the box and of its neighbours with fringe photos.
        box_matches: The box's ``box_matches`` artifact.
        fringe_matches: ``fringe_matches`` artifacts by fringe key; may be empty.
        fringe_images: ``fringe_images.parquet`` of the plan.
        out: Empty folder for the artifact ``sparse_model``.
        work: Folder that outlives a kill; finished mapper runs in it are not repeated.
        settings: How to map and judge.
        n_threads: Threads to use.
        progress: Called after every registered photo.
        neighbour_matches: ``box_matches`` artifacts of the neighbours; ties their fringe photos to
            each other, which steadies them in this model. Optional.

    Returns:
        Counts; ``skipped`` if there is nothing to map or nothing is accepted, and then the tables
        are whole and no photo has a component.

    Raises:
        MappingError: Inputs are missing, or COLMAP failed.
    """
    pages = [folder / "ATTRIBUTION.md" for folder in box_images.values()]
    write_merged(pages, out, title=f"the sparse model of box {box}")
    workspace = build_workspace(
        box,
        box_images=box_images,
        box_matches=box_matches,
        fringe_matches=fringe_matches,
        fringe_images=fringe_images,
        neighbour_matches=neighbour_matches or {},
        work=work,
        settings=settings,
    )
    total = len(workspace.images)
    if workspace.lack:
        return _write(box, workspace, [], out, skipped=workspace.lack)
    attempts = attempt_all(
        box,
        workspace,
        work=work,
        settings=settings,
        n_threads=n_threads,
        tell=lambda name, n: progress(min(n, total), total, f"{name}: {n} registrations"),
    )
    skipped = "" if attempts[0].explained else _why_nothing(attempts)
    report = _write(box, workspace, attempts, out, skipped=skipped)
    progress(total, total, f"{report.counts['n_registered']} photos registered")
    return report


def _why_nothing(attempts: Sequence[Attempt]) -> str:
    reasons = [f"{a.strategy}: {c.reason}" for a in attempts for c in a.components]
    found = "; ".join(dict.fromkeys(reasons)) or "no mapper found a component"
    return f"no component is accepted ({found})"


def _write(
    box: str, workspace: Workspace, attempts: Sequence[Attempt], out: Path, *, skipped: str
) -> StepReport:
    components = attempts[0].components if attempts else []
    rows, overlaps = _image_rows(workspace, components)
    write_table(out / "images.parquet", rows, IMAGE_SCHEMA)
    write_table(out / "overlaps.parquet", overlaps, IMAGE_SCHEMA)
    write_table(out / "components.parquet", _component_rows(components), COMPONENT_SCHEMA)
    for number, component in enumerate(components):
        if component.accepted:
            folder = out / "components" / str(number)
            folder.mkdir(parents=True)
            with quiet_colmap():  # it warns of every photo that is gone
                component.model.extract_colors_for_all_images(workspace.photos)
            component.model.write(folder)
    counts = _count(workspace, rows, attempts)
    write_json(out / "report.json", _report(box, workspace, rows, attempts, counts, skipped))
    _draw(box, workspace, rows, components, out / "from_above.png", counts)
    log.info("Box %s: %s", box, skipped or counts)
    previews = {"Cameras and GPS from above": out / "from_above.png"}
    return StepReport(counts=counts, skipped=skipped, previews=previews)


def _image_rows(
    workspace: Workspace, components: Sequence[Component]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Give one row a photo; further registrations of a photo go to the second table."""
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
    refused = {i for c in components if not c.accepted for i in c.image_ids}
    for image_id, photo in names.items():
        if image_id in first:
            continue
        state = "refused" if image_id in refused else "unconnected"
        first[image_id] = {
            **_identity(photo),
            **missing_pose_row(),
            "component": -1,
            "gps_residual_m": pruned.get(image_id, float("nan")),
            "n_observations": 0,
            "state": "pruned" if image_id in pruned else state,
        }
    return pd.DataFrame([first[i] for i in sorted(first)], columns=IMAGE_SCHEMA.names), overlaps


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


def _component_rows(components: Sequence[Component]) -> list[dict[str, Any]]:
    return [
        {"component": number, **c.numbers, "accepted": c.accepted, "reason": c.reason}
        for number, c in enumerate(components)
    ]


def _count(
    workspace: Workspace, rows: pd.DataFrame, attempts: Sequence[Attempt]
) -> dict[str, int | float | str]:
    home = rows[rows["is_home"]]
    registered = rows[rows["component"] >= 0]
    components = attempts[0].components if attempts else []
    accepted = [c for c in components if c.accepted]
    n_home_registered = int((home["component"] >= 0).sum())
    counts: dict[str, int | float | str] = {
        "n_images": len(home),
        "n_fringe_images": len(rows) - len(home),
        "n_connected": len(workspace.mappable),
        "n_pairs": workspace.n_pairs,
        "n_registered": len(registered),
        "n_home_registered": n_home_registered,
        "registered_share": round(n_home_registered / len(home), 4) if len(home) else 0.0,
        "n_pruned": int((rows["state"] == "pruned").sum()),
        "n_components": len(accepted),
        "n_refused_components": len(components) - len(accepted),
        "n_points": sum(c.model.num_points3D() for c in accepted),
        "strategy": attempts[0].strategy if attempts else "",
    }
    if accepted:
        counts["gps_residual_median_m"] = round(float(registered["gps_residual_m"].median()), 3)
        errors = [c.numbers["reproj_error_px"] for c in accepted]
        weights = [c.numbers["n_points"] for c in accepted]
        counts["reproj_error_px"] = round(float(np.average(errors, weights=weights)), 3)
    return counts


def _report(
    box: str,
    workspace: Workspace,
    rows: pd.DataFrame,
    attempts: Sequence[Attempt],
    counts: Mapping[str, int | float | str],
    skipped: str,
) -> dict[str, Any]:
    """Tell everything, also of what was refused; JSON has no NaN, so unknown numbers are null."""
    lost = rows[rows["state"] != "registered"]
    return {
        "box": box,
        "skipped": skipped,
        "counts": dict(counts),
        "attempts": [
            {
                **attempt.summary(),
                "components": [_plain(row) for row in _component_rows(attempt.components)],
            }
            for attempt in attempts
        ],
        "states": {str(k): int(v) for k, v in rows["state"].value_counts().items()},
        "not_registered": [
            _plain({"image_id": r.image_id, "state": r.state, "gps_residual_m": r.gps_residual_m})
            for r in lost.itertuples(index=False)
        ],
        "cameras": _cameras(workspace, attempts),
    }


def _cameras(workspace: Workspace, attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    return [
        {
            "component": number,
            "camera_id": int(camera.camera_id),
            "model": camera.model.name,
            "params": [round(float(value), 6) for value in camera.params],
            "is_refined": int(camera.camera_id) not in workspace.fixed_cameras,
        }
        for number, component in enumerate(attempts[0].components if attempts else [])
        for camera in component.model.cameras.values()
    ]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}


def _draw(
    box: str,
    workspace: Workspace,
    rows: pd.DataFrame,
    components: Sequence[Component],
    path: Path,
    counts: Mapping[str, int | float | str],
) -> None:
    cameras = rows[rows["component"] >= 0]
    points = [
        point
        for component in components
        if component.accepted
        for point in component.model.points3D.values()
        if point.track.length() >= _MIN_TRACK
    ]
    draw_from_above(
        path,
        title=f"Box {box} ({counts['strategy'] or 'not mapped'})",
        cameras=cameras.assign(group="component " + cameras["component"].astype(str)),
        gps=workspace.images[["colmap_id", "east_m", "north_m"]],
        points=(
            np.array([p.xyz for p in points]).reshape(-1, 3),
            np.array([p.color for p in points], dtype=np.uint8).reshape(-1, 3),
        ),
    )
