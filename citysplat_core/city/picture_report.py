"""The report of a city: which numbers and pictures go into it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from citysplat_core.city.attribution import credit_line
from citysplat_core.city.drawing import draw_boxes_map, draw_camera_paths, draw_match_graph
from citysplat_core.city.report import write_report
from citysplat_core.geography import BoxPlan, load_plan
from citysplat_core.imagery.attribution_merge import merge_attributions
from citysplat_core.settings import City
from citysplat_core.storage import ArtifactStore, read_json

MAX_VIEWS = 8

Picture = tuple[str, Path | bytes]


def write_city_report(city: City, summary: Mapping[str, Any]) -> Path:
    """Write ``report.html`` beside city.toml: numbers, map, match graph, cameras, views.

    Args:
        city: The city, built as far as it is; a picture whose artifact is not there is left out.
        summary: The numbers of ``summarize``.

    Returns:
        The file.

    Raises:
        StorageError: There is no plan yet, or the disk is full.
    """
    store = ArtifactStore(city.root)
    plan = load_plan(city.root / "plan.json")
    pictures = [*_maps(store, plan), *_paths(store, plan), *_views(store, plan)]
    file = city.root / "report.html"
    write_report(summary, file, pictures=pictures, credit=_credit(store, plan))
    return file


def _credit(store: ArtifactStore, plan: BoxPlan) -> str:
    """Say whose photos the renderings show beside themselves: all creators of those boxes."""
    pages = [
        splat.path / "ATTRIBUTION.md"
        for box in plan.boxes
        if (splat := store.find("splat", box.key)) is not None
    ]
    merged = merge_attributions([page for page in pages if page.is_file()], title="")
    names = re.findall(r"^- \[?(@?[^\]:]+)\]?.*: \d+ photos$", merged, flags=re.MULTILINE)
    creators = sorted({name for name in names if not name.startswith("sequence ")})
    if not creators:
        return credit_line(merged) if pages else ""
    return f"{credit_line(merged)}; by {', '.join(creators)}. Changed: renderings made from them."


def _maps(store: ArtifactStore, plan: BoxPlan) -> list[Picture]:
    tiles = store.find("city_tiles")
    if tiles is None:
        return [("Boxes and photos", store.need("box_plan").path / "map.png")]
    layers = [read_json(tiles.path / name) for name in ("city.json", "cameras.geojson")]
    title = f"Boxes and photos: {len(plan.boxes)} boxes, {len(plan.fringes)} fringes"
    return [(title, draw_boxes_map(*layers))]


def _paths(store: ArtifactStore, plan: BoxPlan) -> list[Picture]:
    photos = pd.read_parquet(store.need("box_plan").path / "images.parquet")
    matches = [store.find("box_matches", box.key) for box in plan.boxes]
    matches += [store.find("fringe_matches", fringe.key) for fringe in plan.fringes]
    tables = [found.path / "pairs.parquet" for found in matches if found is not None]
    pictures: list[Picture] = []
    if tables:
        pictures.append(("Verified pairs", draw_match_graph(photos, tables)))
    alignment = store.find("city_alignment")
    if alignment is not None and not alignment.skipped:
        cameras = pd.read_parquet(alignment.path / "cameras.parquet")
        pictures.append(("Solved cameras from above", draw_camera_paths(cameras, photos)))
    return pictures


def _views(store: ArtifactStore, plan: BoxPlan) -> list[Picture]:
    """Choose held-out views: of every box its median one, then more of the boxes in turn."""
    ranked: list[tuple[int, str, Path]] = []
    for box in plan.boxes:
        splat = store.find("splat", box.key)
        if splat is None or splat.skipped:
            continue
        views = sorted(read_json(splat.path / "metrics.json")["views"], key=lambda v: v["psnr_db"])
        middle = len(views) // 2
        for rank, view in enumerate([*views[middle:], *views[:middle][::-1]]):
            title = f"Box {box.key[-6:]}: photo and rendering, {view['psnr_db']:.1f} dB"
            ranked.append((rank, title, splat.path / "renders" / f"{view['image_id']}.jpg"))
    ranked.sort(key=lambda item: item[0])
    return [(title, file) for _, title, file in ranked[:MAX_VIEWS]]
