"""The step that joins the boxes: one similarity per component, one camera per photo."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from citysplat_core.geography import CityFrame
from citysplat_core.mapping.city_graph import CityGraph, build_graph, sigmas_of
from citysplat_core.mapping.city_report import count_city, describe_city, read_planned
from citysplat_core.mapping.graph import Alignment, Graph
from citysplat_core.mapping.pictures import draw_from_above
from citysplat_core.mapping.pose_graph import solve_pose_graph
from citysplat_core.mapping.seams import count_groups, measure_fringes
from citysplat_core.mapping.tables import (
    CAMERA_SCHEMA,
    FRINGE_SCHEMA,
    IMAGE_SCHEMA,
    POSE_COLUMNS,
    read_components,
    read_overlaps,
    read_registered,
    write_table,
)
from citysplat_core.settings import AlignSettings
from citysplat_core.storage import Progress, StepReport, write_json

log = logging.getLogger(__name__)

_POSITION = ["east_m", "north_m", "up_m"]


@dataclass(frozen=True)
class _Pieces:
    """All registrations of the city and the components they belong to.

    ``rows`` has one row a registration with its ``node``; ``nodes`` names (box, component).
    """

    rows: pd.DataFrame
    nodes: list[tuple[str, int]]


def align_city(
    *,
    sparse_models: Mapping[str, Path],
    plan_images: Path,
    frame: CityFrame,
    out: Path,
    work: Path,
    settings: AlignSettings,
    n_threads: int,
    progress: Progress,
) -> StepReport:
    """Make the boxes agree on the photos they share.

    Only camera tables are read, no points and no photos.

    Args:
        sparse_models: ``sparse_model`` artifacts by box key; skipped ones have no components and
            are left out by themselves.
        plan_images: ``images.parquet`` of the plan.
        frame: The city frame, for longitude, latitude and height of the cameras.
        out: Empty folder for the artifact ``city_alignment``.
        work: Not used: the step is cheap to repeat.
        settings: Expected errors.
        n_threads: Not used: one thread is enough.
        progress: Called between the parts of the work.

    Returns:
        Counts, with the seams before and after; ``skipped`` if no box has an accepted component.

    Raises:
        MappingError: A table is missing.
    """
    del work, n_threads
    progress(0, 3, "reading cameras")
    plan = read_planned(plan_images)
    pieces = _gather(sparse_models)
    if not pieces.nodes:
        return _write_nothing(plan, out)
    ties = build_graph(pieces.rows, len(pieces.nodes), plan, settings)
    graph = ties.graph
    progress(1, 3, f"aligning {graph.n_nodes} components over {len(graph.seams)} shared photos")
    alignment = solve_pose_graph(graph, sigmas_of(settings))
    progress(2, 3, "writing cameras")
    report = _write(pieces, plan, ties, alignment, frame, out, set(sparse_models))
    progress(3, 3, "aligned")
    return report


def _gather(sparse_models: Mapping[str, Path]) -> _Pieces:
    """Read every registration; first ones before repeated ones, boxes in order of their keys."""
    nodes: list[tuple[str, int]] = []
    tables = []
    for box, path in sorted(sparse_models.items()):
        components = read_components(path)
        accepted = components.loc[components["accepted"], "component"].tolist()
        index = {int(c): len(nodes) + k for k, c in enumerate(accepted)}
        nodes += [(box, int(c)) for c in accepted]
        for table, is_first in ((read_registered(path), True), (read_overlaps(path), False)):
            node = table["component"].map(index)
            tables.append(table.assign(node=node, solved_in=box, is_first=is_first)[node.notna()])
    filled = [table for table in tables if len(table)]
    empty = pd.DataFrame(columns=[*IMAGE_SCHEMA.names, "node", "solved_in", "is_first"])
    rows = pd.concat(filled, ignore_index=True) if filled else empty
    return _Pieces(rows.astype({"node": np.int64}), nodes)


def _write(
    pieces: _Pieces,
    plan: pd.DataFrame,
    ties: CityGraph,
    alignment: Alignment,
    frame: CityFrame,
    out: Path,
    boxes: set[str],
) -> StepReport:
    graph = ties.graph
    cameras = _aligned_cameras(pieces, plan, graph, alignment, frame)
    moved = alignment.centers(graph.cameras)
    fringes = measure_fringes(
        pieces.rows, moved, solved=pieces.nodes, boxes=set(plan["box"]) | boxes
    )
    write_table(out / "cameras.parquet", cameras, CAMERA_SCHEMA)
    write_table(out / "fringes.parquet", fringes, FRINGE_SCHEMA)
    transforms = _transforms(pieces, alignment)
    write_json(out / "transforms.json", {"version": 1, "components": transforms})
    counts = _count(pieces, ties, alignment, cameras, fringes) | count_city(cameras, plan)
    moves = _moves(pieces, graph, alignment)
    strained = [[list(pieces.nodes[k]) for k in pair] for pair in ties.strained]
    told = {"skipped": "", "counts": counts, "components": moves, "strained_ties": strained}
    write_json(out / "report.json", told | describe_city(cameras, plan))
    draw_from_above(
        out / "from_above.png",
        title="The aligned city",
        cameras=cameras.assign(group="box " + cameras["solved_in"].astype(str)),
        gps=plan,
    )
    log.info("Alignment: %s", counts)
    return StepReport(counts=counts, previews=_previews(out))


def _previews(out: Path) -> dict[str, Path]:
    return {"Aligned cameras from above": out / "from_above.png"}


def _write_nothing(plan: pd.DataFrame, out: Path) -> StepReport:
    """Write the artifact of a city without any model: whole, with empty tables."""
    skipped = "no box has an accepted component"
    write_table(out / "cameras.parquet", [], CAMERA_SCHEMA)
    write_table(out / "fringes.parquet", [], FRINGE_SCHEMA)
    write_json(out / "transforms.json", {"version": 1, "components": []})
    counts = {"n_boxes": 0, "n_components": 0, "n_images": 0}
    write_json(out / "report.json", {"skipped": skipped, "counts": counts, "components": []})
    nobody = pd.DataFrame(columns=["colmap_id", "group", *POSE_COLUMNS])
    draw_from_above(
        out / "from_above.png",
        title="No aligned camera",
        cameras=nobody,
        gps=plan,
    )
    return StepReport(counts=counts, skipped=skipped, previews=_previews(out))


def _aligned_cameras(
    pieces: _Pieces, plan: pd.DataFrame, graph: Graph, alignment: Alignment, frame: CityFrame
) -> pd.DataFrame:
    """Give one row a photo: from its home box if that has it, else from a neighbour."""
    rotation = alignment.rotations(graph.cameras)
    center = alignment.centers(graph.cameras)
    table = pieces.rows.copy()
    table[["qx", "qy", "qz", "qw"]] = rotation.as_quat(canonical=True)
    table[["tx", "ty", "tz"]] = -rotation.apply(center)
    table[_POSITION] = center
    table[["lon", "lat", "alt_m"]] = frame.lon_lat_alt(center)
    home = plan[["colmap_id", "box", "east_m", "north_m"]]
    table = table.merge(home, on="colmap_id", suffixes=("", "_gps"), how="inner")
    off = table[["east_m", "north_m"]].to_numpy() - table[["east_m_gps", "north_m_gps"]].to_numpy()
    table["gps_residual_m"] = np.hypot(off[:, 0], off[:, 1])
    table["is_away"] = table["solved_in"] != table["box"]
    order = ["colmap_id", "is_away", "is_first", "n_observations"]
    table = table.sort_values(order, ascending=[True, True, False, False], kind="stable")
    first: pd.DataFrame = table.drop_duplicates("colmap_id")[CAMERA_SCHEMA.names]
    return first.reset_index(drop=True)


def _transforms(pieces: _Pieces, alignment: Alignment) -> list[dict[str, Any]]:
    translation = alignment.translation()
    quaternions = alignment.rotation.as_quat(canonical=True).reshape(-1, 4)
    return [
        {
            "box": box,
            "component": component,
            "scale": float(alignment.scale[k]),
            "rotation_wxyz": [float(quaternions[k][i]) for i in (3, 0, 1, 2)],
            "translation_m": [float(v) for v in translation[k]],
        }
        for k, (box, component) in enumerate(pieces.nodes)
    ]


def _moves(pieces: _Pieces, graph: Graph, alignment: Alignment) -> list[dict[str, Any]]:
    """Say how far each component was moved: a large move is a warning."""
    groups = count_groups(graph.n_nodes, graph.cameras.node[graph.seams])
    turned_deg = np.degrees(alignment.rotation.magnitude()).reshape(-1)
    sizes = np.bincount(graph.cameras.node, minlength=graph.n_nodes)
    return [
        {
            "box": box,
            "component": component,
            "n_images": int(sizes[k]),
            "group": int(groups[k]),
            "is_tied": bool((groups == groups[k]).sum() > 1),
            "moved_m": round(float(np.linalg.norm(alignment.shift[k])), 3),
            "turned_deg": round(float(turned_deg[k]), 3),
            "scale": round(float(alignment.scale[k]), 5),
        }
        for k, (box, component) in enumerate(pieces.nodes)
    ]


def _count(
    pieces: _Pieces,
    ties: CityGraph,
    alignment: Alignment,
    cameras: pd.DataFrame,
    fringes: pd.DataFrame,
) -> dict[str, int | float | str]:
    graph = ties.graph
    groups = count_groups(graph.n_nodes, graph.cameras.node[graph.seams])
    counts: dict[str, int | float | str] = {
        "n_boxes": len({box for box, _ in pieces.nodes}),
        "n_components": len(pieces.nodes),
        "n_groups": len(set(groups.tolist())),
        "n_images": len(cameras),
        "n_seams": len(ties.all_seams),
        "n_strained_ties": len(ties.strained),
        "n_fringes": len(fringes),
        "n_tied_fringes": int((fringes["state"] == "tied").sum()),
    }
    seams = ties.all_seams
    if len(seams):
        before, after = graph.cameras.center, alignment.centers(graph.cameras)
        for name, center in (("before", before), ("after", after)):
            gap = np.linalg.norm(center[seams[:, 0]] - center[seams[:, 1]], axis=1)
            counts[f"seam_{name}_median_m"] = round(float(np.median(gap)), 4)
            counts[f"seam_{name}_p90_m"] = round(float(np.percentile(gap, 90)), 4)
    counts["gps_residual_median_m"] = round(float(cameras["gps_residual_m"].median()), 3)
    counts["gps_residual_p90_m"] = round(float(cameras["gps_residual_m"].quantile(0.9)), 3)
    counts["largest_scale_change"] = round(
        float(np.expm1(np.abs(np.log(alignment.scale)).max())), 5
    )
    return counts
