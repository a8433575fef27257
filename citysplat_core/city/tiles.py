"""The finished city: owned Gaussians of every box, map layers, and the page that shows them."""

import logging
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from citysplat_core.city.attribution import credit_line
from citysplat_core.city.cameras import (
    camera_list,
    fields_of_view,
    registered_cameras,
    start_pose,
    walk_order,
)
from citysplat_core.city.inputs import BoxInputs
from citysplat_core.city.layers import boxes_layer, cameras_layer, rounded
from citysplat_core.city.ownership import square_corners
from citysplat_core.city.parts import SplatParts, publish_parts
from citysplat_core.city.viewer import copy_viewer
from citysplat_core.errors import ViewerError
from citysplat_core.geography import BoxPlan, CityFrame, load_plan
from citysplat_core.imagery.attribution_merge import merge_attributions
from citysplat_core.settings import TilesSettings
from citysplat_core.storage import Progress, StepReport, no_progress, read_json, write_json

log = logging.getLogger(__name__)

CITY_VERSION = 1


def build_city(  # noqa: PLR0913 - a step names all that it reads
    *,
    plan: Path,
    boxes: Mapping[str, BoxInputs],
    alignment: Path | None,
    frame: CityFrame,
    out: Path,
    work: Path,
    settings: TilesSettings,
    n_threads: int = 1,
    progress: Progress = no_progress,
) -> StepReport:
    """Put the boxes together as a static folder that any web server can show.

    Args:
        plan: The ``box_plan`` artifact.
        boxes: What there is of each box, by key; a planned box that is absent counts as missing.
        alignment: The ``city_alignment`` artifact, or None: boxes stand where GPS put them.
        frame: The city frame.
        out: Empty directory for the artifact ``city_tiles``.
        work: Directory that survives a kill; finished boxes are kept there and not made again.
        settings: What is published.
        n_threads: Boxes worked on at once; each holds its Gaussians in memory.
        progress: Called as boxes finish.

    Returns:
        Counts: boxes by state, Gaussians published, left to neighbours and pruned, bytes.

    Raises:
        ViewerError: A box is not in the plan, is done without a splat, or its splat is unreadable.
    """
    layout = load_plan(plan / "plan.json")
    inputs = _inputs_of(layout, boxes)
    cameras = registered_cameras(inputs, alignment, frame)
    by_box = {str(key): rows for key, rows in cameras.groupby("box")}
    done = [key for key, item in inputs.items() if item.state == "done"]
    around = _around(layout, done, settings.environment_beyond_m)
    (out / "splats").mkdir()
    (out / "cameras").mkdir()
    (work / "parts").mkdir(parents=True, exist_ok=True)

    def publish(key: str) -> SplatParts:
        return publish_parts(
            inputs[key],
            others=around[key],
            frame=frame,
            ground_up_m=float(by_box[key]["up_m"].median()) if key in by_box else 0.0,
            settings=settings,
            folder=work / "parts",
        )

    parts: dict[str, SplatParts] = {}
    with ThreadPoolExecutor(max_workers=max(1, n_threads)) as pool:
        for key, part in zip(done, pool.map(publish, done), strict=True):
            parts[key] = part
            for file in part.files:
                _link(file, out / "splats" / file.name)
            progress(len(parts), len(done), f"box {key}: {part.n_owned:,} Gaussians")
    described = _describe_boxes(layout, inputs, parts, by_box, frame)
    _write_cameras(inputs, by_box, out)
    _write_layers(plan, layout, described, alignment, cameras, out)
    _write_city(layout, described, frame, settings, inputs, out)
    copy_viewer(out)
    report = StepReport(counts=_counts(inputs, parts, cameras, out))
    log.info("city %s published: %s", layout.city, dict(report.counts))
    return report


def _inputs_of(layout: BoxPlan, boxes: Mapping[str, BoxInputs]) -> dict[str, BoxInputs]:
    planned = [box.key for box in layout.boxes]
    strangers = sorted(set(boxes) - set(planned))
    if strangers:
        raise ViewerError(
            f"{len(strangers)} boxes are not in the plan ({', '.join(strangers[:3])})",
            expected=f"boxes among the plan's {len(planned)}",
            fix="Materialize box_plan and what follows from it again.",
        )
    empty = [key for key, item in sorted(boxes.items()) if item.state == "done" and not item.splat]
    if empty:
        raise ViewerError(
            "the box is done but has no splat artifact",
            expected="a splat artifact, or the state skipped, failed or missing",
            fix="Materialize the splat of this box.",
            box=empty[0],
        )
    return {key: boxes.get(key, BoxInputs(key=key, state="missing")) for key in planned}


def _around(layout: BoxPlan, done: list[str], reach_m: float) -> dict[str, list[str]]:
    """Find for each box with a splat the others that its near Gaussians may fall in."""
    boxes = [box for box in layout.boxes if box.key in set(done)]
    center = np.array([[box.center_east_m, box.center_north_m] for box in boxes])
    # Web-mercator squares are as wide as high; a degree of latitude is below 111.7 km everywhere.
    radius_m = np.array([(box.north - box.south) * 111_700 * 0.75 for box in boxes])
    found = {}
    for i, box in enumerate(boxes):
        gap = np.hypot(*(center - center[i]).T) - radius_m - radius_m[i]
        near = np.flatnonzero(gap <= reach_m)
        found[box.key] = [boxes[j].key for j in near if j != i]
    return found


def _link(source: Path, target: Path) -> None:
    """Publish a finished file without a second copy where the file system allows it."""
    try:
        os.link(source, target)
    except OSError:  # another device, or a file system without links
        shutil.copyfile(source, target)


def _describe_boxes(
    layout: BoxPlan,
    inputs: Mapping[str, BoxInputs],
    parts: Mapping[str, SplatParts],
    cameras: Mapping[str, pd.DataFrame],
    frame: CityFrame,
) -> dict[str, dict[str, Any]]:
    described = {}
    for box in layout.boxes:
        own = cameras.get(box.key)
        described[box.key] = {
            "key": box.key,
            "west": box.west,
            "south": box.south,
            "east": box.east,
            "north": box.north,
            "square_enu_m": square_corners(frame, box.key).round(4).tolist(),
            "state": inputs[box.key].state,
            "reason": inputs[box.key].reason,
            "n_images": box.n_images,
            "n_registered": 0 if own is None else len(own),
            "psnr_db": _psnr_db(inputs[box.key]),
            "splat": parts[box.key].describe() if box.key in parts else None,
            "neighbours": layout.neighbours_of(box.key),
            "cameras": None if own is None else f"cameras/{box.key}.json",
            "start": None if own is None else start_pose(own),
        }
    return described


def _psnr_db(item: BoxInputs) -> float | None:
    if item.splat is None or not (item.splat / "metrics.json").is_file():
        return None
    return rounded(read_json(item.splat / "metrics.json").get("psnr_db"), 2)


def _write_cameras(
    inputs: Mapping[str, BoxInputs], cameras: Mapping[str, pd.DataFrame], out: Path
) -> None:
    for key, own in cameras.items():
        item = inputs[key]
        scene = item.splat / "scene.json" if item.splat else None
        held_out = read_json(scene).get("test_images", []) if scene and scene.is_file() else []
        described = camera_list(
            walk_order(own, item.box_images),
            fields_of_view(item.sparse_model),
            {str(image) for image in held_out},
        )
        write_json(
            out / "cameras" / f"{key}.json",
            {"version": CITY_VERSION, "box": key, "cameras": described},
        )


def _write_layers(
    plan: Path,
    layout: BoxPlan,
    described: Mapping[str, Mapping[str, Any]],
    alignment: Path | None,
    cameras: pd.DataFrame,
    out: Path,
) -> None:
    photos = pd.read_parquet(
        plan / "images.parquet", columns=["image_id", "box", "lon", "lat", "heading_deg"]
    )
    write_json(out / "boxes.geojson", boxes_layer(layout, described, alignment))
    write_json(out / "cameras.geojson", cameras_layer(photos, cameras))


def _write_city(
    layout: BoxPlan,
    described: Mapping[str, Mapping[str, Any]],
    frame: CityFrame,
    settings: TilesSettings,
    inputs: Mapping[str, BoxInputs],
    out: Path,
) -> None:
    pages = [item.box_images / "ATTRIBUTION.md" for item in inputs.values() if item.box_images]
    merged = merge_attributions(
        [page for page in pages if page.is_file()], title=settings.title or layout.city
    )
    (out / "ATTRIBUTION.md").write_text(merged, encoding="utf-8")
    bounds = [
        min(box.west for box in layout.boxes),
        min(box.south for box in layout.boxes),
        max(box.east for box in layout.boxes),
        max(box.north for box in layout.boxes),
    ]
    city = {
        "version": CITY_VERSION,
        "name": settings.title or layout.city,
        "origin": {
            "lon": frame.origin_lon,
            "lat": frame.origin_lat,
            "alt_m": frame.origin_alt_m,
        },
        "bounds": bounds,
        "attribution": settings.attribution or credit_line(merged),
        "boxes": list(described.values()),
    }
    write_json(out / "city.json", city)


def _counts(
    inputs: Mapping[str, BoxInputs],
    parts: Mapping[str, SplatParts],
    cameras: pd.DataFrame,
    out: Path,
) -> dict[str, int | float | str]:
    states = [item.state for item in inputs.values()]
    return {
        "boxes": len(states),
        "boxes_done": states.count("done"),
        "boxes_skipped": states.count("skipped"),
        "boxes_failed": states.count("failed"),
        "boxes_missing": states.count("missing"),
        "registered": len(cameras),
        "gaussians_owned": sum(part.n_owned for part in parts.values()),
        "gaussians_environment": sum(part.n_environment for part in parts.values()),
        "gaussians_left": sum(part.n_left for part in parts.values()),
        "gaussians_pruned": sum(part.n_pruned for part in parts.values()),
        "splat_bytes": sum(f.stat().st_size for f in (out / "splats").iterdir()),
    }
