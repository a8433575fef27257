"""The numbers of a city, from its artifacts alone; none is estimated and none is left out."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from citysplat_core.city.status import BOX_STAGES
from citysplat_core.geography import load_plan
from citysplat_core.settings import City
from citysplat_core.storage import Artifact, ArtifactStore, read_failures, read_json, write_json

STAGES = (
    "tile_ledger",
    "image_catalog",
    "box_plan",
    "box_images",
    "box_features",
    "box_matches",
    "fringe_matches",
    "sparse_model",
    "city_alignment",
    "splat",
    "city_tiles",
)
"""Assets in the order of the flow."""


def summarize(city: City) -> dict[str, Any]:
    """Collect the numbers of a city as far as it is built.

    Returns:
        Plain JSON values. Keys that a stage has not given yet are null, never 0:
        ``images_true`` and ``position_error_m`` need a simulated city's truth. Distances are
        metres: ``position_error_m`` is the distance of aligned camera centres from the truth,
        with no further alignment, ``gps_residual_m`` the horizontal distance from GPS; PSNR and
        SSIM are medians over all held-out views of all boxes. ``stages`` sums seconds over
        boxes, and gives the highest peak memory of one step.
    """
    store = ArtifactStore(city.root)
    plan_file = city.root / "plan.json"
    plan = load_plan(plan_file) if plan_file.is_file() else None
    boxes = [b.key for b in plan.boxes] if plan else []
    fringes = [f.key for f in plan.fringes] if plan else []
    cameras, truth = _cameras(store), _truth(city)
    run = read_json(city.root / "run.json") if (city.root / "run.json").is_file() else {}
    return {
        "city": city.settings.name,
        "images_true": None if truth is None else len(truth),
        "images_found": _count(store.find("tile_ledger"), "images_found"),
        "images_used": _sum(store, "box_images", boxes, "ok"),
        "boxes": len(boxes),
        "fringes": len(fringes),
        "pairs": _pairs(store, boxes, fringes),
        "registered": None if cameras is None else len(cameras),
        "components": _sum(store, "sparse_model", boxes, "n_components"),
        "position_error_m": _position_error(truth, _as_taken(store, truth, cameras)),
        "gps_residual_m": _quantiles(None if cameras is None else cameras["gps_residual_m"]),
        "seam_m": _count(store.find("city_alignment"), "seam_after_median_m"),
        **_splats(store, boxes),
        "skipped": _skipped(store, boxes, fringes),
        "failed": {f"{f.asset} {f.partition}".strip(): f.message for f in read_failures(city.root)},
        "stages": _stages(store, boxes, fringes),
        "total_seconds": run.get("total_seconds"),
    }


def write_summary(city: City) -> Path:
    """Write ``summary.json`` beside city.toml and give its path."""
    file = city.root / "summary.json"
    write_json(file, summarize(city))
    return file


def _partitions_of(asset: str, boxes: list[str], fringes: list[str]) -> list[str]:
    if asset == "fringe_matches":
        return fringes
    return boxes if asset in BOX_STAGES else [""]


def _found(store: ArtifactStore, asset: str, keys: list[str]) -> list[Artifact]:
    return [a for key in keys if (a := store.find(asset, key)) is not None]


def _count(artifact: Artifact | None, name: str) -> Any:  # noqa: ANN401 - a JSON value
    return None if artifact is None else artifact.counts.get(name)


def _sum(store: ArtifactStore, asset: str, keys: list[str], name: str) -> int | None:
    found = _found(store, asset, keys)
    return sum(int(a.counts.get(name, 0)) for a in found) if found else None


def _pairs(store: ArtifactStore, boxes: list[str], fringes: list[str]) -> dict[str, dict[str, int]]:
    """Sum proposed, matched, verified and refused pairs by the source that proposed them."""
    total: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for artifact in (
        *_found(store, "box_matches", boxes),
        *_found(store, "fringe_matches", fringes),
    ):
        for source, numbers in read_json(artifact.path / "report.json")["sources"].items():
            for name, value in numbers.items():
                total[source][name] += int(value)
    return {source: dict(numbers) for source, numbers in sorted(total.items())}


def _cameras(store: ArtifactStore) -> pd.DataFrame | None:
    alignment = store.find("city_alignment")
    return None if alignment is None else pd.read_parquet(alignment.path / "cameras.parquet")


def _truth(city: City) -> pd.DataFrame | None:
    name = city.settings.truth
    return pd.read_parquet(city.root / name) if name else None


def _as_taken(
    store: ArtifactStore, truth: pd.DataFrame | None, cameras: pd.DataFrame | None
) -> pd.DataFrame | None:
    """Name the views of panoramas as the panoramas, which is what the truth knows."""
    artifact = store.find("image_catalog")
    if truth is None or cameras is None or artifact is None:
        return cameras
    catalog = artifact.path / "catalog.parquet"
    if "panorama_id" not in pq.read_schema(catalog).names:
        return cameras  # made by an older version
    views = pd.read_parquet(
        catalog,
        columns=["image_id", "panorama_id"],
        filters=[("status", "==", "listed")],
    ).dropna()
    panoramas = cameras["image_id"].map(views.set_index("image_id")["panorama_id"])
    return cameras.assign(image_id=panoramas.fillna(cameras["image_id"]))


def _position_error(
    truth: pd.DataFrame | None, cameras: pd.DataFrame | None
) -> dict[str, float] | None:
    if truth is None or cameras is None or cameras.empty:
        return None
    columns = ["east_m", "north_m", "up_m"]
    both = cameras.merge(truth, on="image_id", suffixes=("", "_true"))
    seen = both[columns].to_numpy(float)
    true = both[[f"{c}_true" for c in columns]].to_numpy(float)
    return _quantiles(pd.Series(np.linalg.norm(seen - true, axis=1)))


def _quantiles(values: pd.Series | None) -> dict[str, float] | None:
    finite = None if values is None else values[np.isfinite(values)]
    if finite is None or finite.empty:
        return None
    return {
        "median": round(float(finite.median()), 3),
        "p90": round(float(finite.quantile(0.9)), 3),
    }


def _splats(store: ArtifactStore, boxes: list[str]) -> dict[str, Any]:
    made = [a for a in _found(store, "splat", boxes) if not a.skipped]
    views = pd.DataFrame(
        [v for a in made for v in read_json(a.path / "metrics.json")["views"]],
        columns=["psnr_db", "ssim", "cc_psnr_db"],
    )
    medians = {
        str(name): None if views.empty else round(float(views[name].median()), 4) for name in views
    }
    return {
        "splats": len(made),
        "gaussians": sum(int(a.counts.get("n_gaussians", 0)) for a in made) if made else None,
        "held_out_views": len(views),
        **medians,
    }


def _skipped(store: ArtifactStore, boxes: list[str], fringes: list[str]) -> dict[str, str]:
    return {
        f"{asset} {artifact.partition}".strip(): artifact.skipped
        for asset in STAGES
        for artifact in _found(store, asset, _partitions_of(asset, boxes, fringes))
        if artifact.skipped
    }


def _stages(store: ArtifactStore, boxes: list[str], fringes: list[str]) -> list[dict[str, Any]]:
    rows = []
    for asset in STAGES:
        found = _found(store, asset, _partitions_of(asset, boxes, fringes))
        if found:
            rows.append(
                {
                    "name": asset,
                    "runs": len(found),
                    "seconds": round(sum(a.manifest["seconds"] for a in found), 2),
                    "cpu_seconds": round(sum(a.manifest["cpu_seconds"] for a in found), 2),
                    "peak_rss_mb": max(a.manifest["peak_rss_mb"] for a in found),
                }
            )
    return rows
