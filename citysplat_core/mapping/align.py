"""The step that joins the boxes: one similarity a component, then each box with its fringes."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from citysplat_core.geography import CityFrame
from citysplat_core.mapping.adjust import AlignedCity, Placed, adjust_city
from citysplat_core.mapping.city_graph import build_graph, sigmas_of
from citysplat_core.mapping.city_report import count_city, describe_city, read_planned
from citysplat_core.mapping.graph import Alignment, Graph
from citysplat_core.mapping.joined import (
    Joined,
    count_joined,
    describe_joined,
    similarities_of,
    transforms_of,
)
from citysplat_core.mapping.pictures import draw_from_above
from citysplat_core.mapping.pose_graph import solve_pose_graph
from citysplat_core.mapping.seam_picture import draw_seams
from citysplat_core.mapping.seams import APART_M, measure_fringes
from citysplat_core.mapping.tables import (
    CAMERA_SCHEMA,
    FRINGE_SCHEMA,
    IMAGE_SCHEMA,
    POSE_COLUMNS,
    read_components,
    read_overlaps,
    read_registered,
    read_turns,
    write_table,
)
from citysplat_core.settings import AlignSettings
from citysplat_core.storage import Progress, StepReport, write_json

log = logging.getLogger(__name__)

_POSITION = ["east_m", "north_m", "up_m"]


@dataclass(frozen=True)
class _Pieces:
    """All registrations of the city and the components they belong to.

    ``rows`` has one row a registration with its ``node``; ``nodes`` names (box, component);
    ``turns`` has one row a turn between two nodes.
    """

    rows: pd.DataFrame
    nodes: list[tuple[str, int]]
    turns: pd.DataFrame


def align_city(  # noqa: PLR0913 - a city has that many inputs
    *,
    sparse_models: Mapping[str, Path],
    plan_images: Path,
    frame: CityFrame,
    out: Path,
    work: Path,
    settings: AlignSettings,
    n_threads: int,
    progress: Progress,
    earlier: Path | None = None,
) -> StepReport:
    """Make the boxes agree on the photos they share.

    All components get their similarities at once, from camera tables alone. Then each box is
    adjusted with what is around it, one at a time (``adjust``); photos are not read.

    Args:
        sparse_models: ``sparse_model`` artifacts by box key; skipped ones have no components and
            are left out by themselves.
        plan_images: ``images.parquet`` of the plan.
        frame: The city frame, for longitude, latitude and height of the cameras.
        out: Empty folder for the artifact ``city_alignment``.
        work: Folder that outlives a kill; boxes that were adjusted in it are not adjusted again.
        settings: Expected errors, and whether boxes are adjusted.
        n_threads: Threads for the adjustment.
        progress: Called between the parts of the work and for every box.
        earlier: The version in force of the artifact: adjusted boxes around which nothing has moved
            are taken over from it; None: there is none.

    Returns:
        Counts, with the seams before and after; ``skipped`` if no box has an accepted component.

    Raises:
        MappingError: A table or a model is missing.
    """
    progress(0, 3, "reading cameras")
    plan = read_planned(plan_images)
    pieces = _gather(sparse_models)
    if not pieces.nodes:
        return _write_nothing(plan, out)
    ties = build_graph(pieces.rows, len(pieces.nodes), plan, settings, turns=pieces.turns)
    graph = ties.graph
    progress(1, 3, f"aligning {graph.n_nodes} components over {len(graph.seams)} shared photos")
    alignment = solve_pose_graph(graph, sigmas_of(settings))
    aligned = _aligned_rows(pieces.rows, graph, alignment, plan)
    rows, adjusted = aligned, list[dict[str, Any]]()
    if settings.adjust:
        city = AlignedCity(
            rows=aligned, before=pieces.rows, seams=graph.seams,
            placed=_placed(pieces, sparse_models, alignment),
        )  # fmt: skip
        rows, adjusted = adjust_city(
            city, out=out, work=work, earlier=earlier, settings=settings, n_threads=n_threads,
            progress=progress,
        )  # fmt: skip
    progress(2, 3, "writing cameras")
    joined = Joined(
        nodes=pieces.nodes, before=pieces.rows, aligned=aligned, rows=rows, ties=ties,
        alignment=alignment, adjusted=adjusted,
    )  # fmt: skip
    report = _write(joined, plan, frame, out, set(sparse_models))
    progress(3, 3, "aligned")
    return report


def _gather(sparse_models: Mapping[str, Path]) -> _Pieces:
    """Read every registration; first ones before repeated ones, boxes in order of their keys."""
    nodes: list[tuple[str, int]] = []
    tables, turns = [], []
    for box, path in sorted(sparse_models.items()):
        components = read_components(path)
        accepted = components.loc[components["accepted"], "component"].tolist()
        index = {int(c): len(nodes) + k for k, c in enumerate(accepted)}
        nodes += [(box, int(c)) for c in accepted]
        for table, is_first in ((read_registered(path), True), (read_overlaps(path), False)):
            node = table["component"].map(index)
            tables.append(table.assign(node=node, solved_in=box, is_first=is_first)[node.notna()])
        told = read_turns(path)
        ends = {f"node_{side}": told[f"component_{side}"].map(index) for side in "ab"}
        turns.append(told.assign(**ends))
    filled = [table for table in tables if len(table)]
    empty = pd.DataFrame(columns=[*IMAGE_SCHEMA.names, "node", "solved_in", "is_first"])
    rows = pd.concat(filled, ignore_index=True) if filled else empty
    turned = pd.concat(turns, ignore_index=True) if turns else pd.DataFrame()
    return _Pieces(rows.astype({"node": np.int64}), nodes, turned)


def _write(
    joined: Joined, plan: pd.DataFrame, frame: CityFrame, out: Path, boxes: set[str]
) -> StepReport:
    cameras = _cameras_of(joined.rows, plan, frame)
    fringes = measure_fringes(
        joined.before, joined.rows[_POSITION].to_numpy(float), solved=joined.nodes,
        boxes=set(plan["box"]) | boxes,
    )  # fmt: skip
    write_table(out / "cameras.parquet", cameras, CAMERA_SCHEMA)
    write_table(out / "fringes.parquet", fringes, FRINGE_SCHEMA)
    transforms = transforms_of(joined)
    write_json(out / "transforms.json", {"version": 1, "components": transforms})
    counts = count_joined(joined, cameras, fringes) | count_city(cameras, plan)
    told = {"skipped": "", "counts": counts} | describe_joined(joined)
    write_json(out / "report.json", told | describe_city(cameras, plan))
    draw_from_above(
        out / "from_above.png",
        title="The aligned city",
        cameras=cameras.assign(group="box " + cameras["solved_in"].astype(str)),
        gps=plan,
    )
    places = joined.rows[_POSITION].to_numpy(float)
    draw_seams(out / "seams.png", places, joined.ties.all_seams, apart_m=APART_M)
    log.info("Alignment: %s", counts)
    return StepReport(counts=counts, previews=_previews(out))


def _previews(out: Path) -> dict[str, Path]:
    seams = {"Shared photos": out / "seams.png"} if (out / "seams.png").is_file() else {}
    return {"Aligned cameras from above": out / "from_above.png", **seams}


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


def _aligned_rows(
    before: pd.DataFrame, graph: Graph, alignment: Alignment, plan: pd.DataFrame
) -> pd.DataFrame:
    """Move every registration; ``rank`` orders those of a photo, its home box's first."""
    rotation = alignment.rotations(graph.cameras)
    center = alignment.centers(graph.cameras)
    table = before.copy()
    table[["qx", "qy", "qz", "qw"]] = rotation.as_quat(canonical=True)
    table[["tx", "ty", "tz"]] = -rotation.apply(center)
    table[_POSITION] = center
    home = plan.set_index("colmap_id")["box"].reindex(table["colmap_id"])
    table["is_away"] = table["solved_in"].to_numpy(object) != home.to_numpy(object)
    order = ["colmap_id", "is_away", "is_first", "n_observations"]
    ordered = table.sort_values(order, ascending=[True, True, False, False], kind="stable").index
    table.loc[ordered, "rank"] = np.arange(len(table))
    return table.drop(columns="is_away")


def _placed(
    pieces: _Pieces, sparse_models: Mapping[str, Path], alignment: Alignment
) -> list[Placed]:
    return [
        Placed(
            box=box,
            component=component,
            folder=sparse_models[box] / "components" / str(component),
            city_from_model=similarity,
        )
        for (box, component), similarity in zip(
            pieces.nodes, similarities_of(alignment), strict=True
        )
    ]


def _cameras_of(rows: pd.DataFrame, plan: pd.DataFrame, frame: CityFrame) -> pd.DataFrame:
    """Give one row a photo: from its home box if that has it, else from a neighbour."""
    table = rows.sort_values("rank").drop_duplicates("colmap_id")
    table[["lon", "lat", "alt_m"]] = frame.lon_lat_alt(table[_POSITION].to_numpy(float))
    home = plan[["colmap_id", "box", "east_m", "north_m"]]
    table = table.merge(home, on="colmap_id", suffixes=("", "_gps"), how="inner")
    off = table[["east_m", "north_m"]].to_numpy() - table[["east_m_gps", "north_m_gps"]].to_numpy()
    table["gps_residual_m"] = np.hypot(off[:, 0], off[:, 1])
    cameras: pd.DataFrame = table.sort_values("colmap_id")[CAMERA_SCHEMA.names]
    return cameras.reset_index(drop=True)
