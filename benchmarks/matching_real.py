"""Real photos: what CitySplat's matching keeps beside ``pycolmap.match_exhaustive``, with time."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pycolmap
from matching_store import colmap_defaults
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from citysplat_core.features import (
    colmap_device,
    copy_database,
    extract_box_features,
    quiet_colmap,
    read_pair_counts,
)
from citysplat_core.matching import match_box
from citysplat_core.settings import FeatureSettings, MatchingSettings
from citysplat_core.storage import no_progress

M_PER_DEGREE = 111_320.0
SETS = {"lund_street": 1, "gopro_walkway": 3}
"""Folders of real photos, and of how many photos one is taken."""


def measure_real(data: Path, folder: Path, *, n_threads: int) -> tuple[str, dict[str, object]]:
    """Match the real photos that are there.

    Args:
        data: Folder of the real photos.
        folder: For databases; should be empty.
        n_threads: Threads of both matchers.

    Returns:
        A table for people, and the same as values by set; a set that is not there says so.
    """
    lines = [
        "real photos     matcher       proposed verified components photos alone  CPU s  wall s"
    ]
    values: dict[str, object] = {}
    for name, step in SETS.items():
        if not (data / name / "metadata.csv").is_file():
            lines.append(f"{name:15s} skipped: {data / name} has no metadata.csv")
            values[name] = "skipped: the photos are not there"
            continue
        rows = _measure_set(data / name, step, folder / name, n_threads)
        values[name] = rows
        lines += [
            f"{name:15s} {row['matcher']:12s} {row['proposed']:9d} {row['verified']:8d}"
            f" {row['components']:10d} {row['photos']:6d} {row['alone']:5d}"
            f" {row['cpu_s']:6.1f} {row['wall_s']:7.1f}"
            for row in rows
        ]
    return "\n".join(lines) + "\n", values


def _measure_set(
    source: Path, step: int, folder: Path, n_threads: int
) -> list[dict[str, float | int | str]]:
    images, features, out, work, work_features = (
        folder / name for name in ("images", "features", "out", "work", "work_features")
    )
    for each in (features, out, work, work_features):
        each.mkdir(parents=True)
    n_photos = _write_box(source, step, images)
    common = {"box_images": images, "n_threads": n_threads, "progress": no_progress}
    extract_box_features(
        source.name, out=features, work=work_features, settings=FeatureSettings(), **common
    )
    exhaustive = folder / "exhaustive.db"
    copy_database(features / "features.db", exhaustive)
    wall, cpu = time.perf_counter(), time.process_time()
    match_box(
        source.name, box_features=features, out=out, work=work, settings=MatchingSettings(),
        **common,
    )  # fmt: skip
    ours = time.process_time() - cpu, time.perf_counter() - wall
    wall, cpu = time.perf_counter(), time.process_time()
    matching, verification = colmap_defaults(n_threads)
    with quiet_colmap():
        pycolmap.match_exhaustive(
            exhaustive, matching, pycolmap.ExhaustivePairingOptions(), verification, colmap_device()
        )
    theirs = time.process_time() - cpu, time.perf_counter() - wall
    proposed = len(pd.read_parquet(out / "pairs.parquet"))
    return [
        _facts("CitySplat", out / "matches.db", n_photos, proposed, ours),
        _facts("exhaustive", exhaustive, n_photos, n_photos * (n_photos - 1) // 2, theirs),
    ]


def _facts(
    matcher: str, database: Path, n_photos: int, proposed: int, seconds: tuple[float, float]
) -> dict[str, float | int | str]:
    pairs = read_pair_counts(database)
    pairs = pairs[pairs["n_inliers"] > 0]
    ends = pairs[["colmap_id_a", "colmap_id_b"]].to_numpy().T - 1
    graph = coo_array((np.ones(len(pairs)), tuple(ends)), shape=(n_photos, n_photos))
    sizes = np.bincount(connected_components(graph, directed=False)[1])
    return {
        "matcher": matcher,
        "proposed": proposed,
        "verified": len(pairs),
        "components": int((sizes > 1).sum()),
        "photos": n_photos,
        "alone": int((sizes == 1).sum()),
        "cpu_s": round(seconds[0], 2),
        "wall_s": round(seconds[1], 2),
    }


def _write_box(source: Path, step: int, folder: Path) -> int:
    """Write a folder like the artifact ``box_images``; return how many photos it has."""
    table = pd.read_csv(source / "metadata.csv").iloc[::step]
    (folder / "photos").mkdir(parents=True)
    for image_id, file in zip(table["id"], table["file"], strict=True):
        (folder / "photos" / f"{image_id}.jpg").symlink_to((source / file).resolve())
    east_scale = M_PER_DEGREE * np.cos(np.radians(table["lat"].mean()))
    images = pd.DataFrame(
        {
            "image_id": table["id"],
            "colmap_id": np.arange(len(table)) + 1,
            "camera_id": 1,
            "status": "ok",
            "sequence_id": table["sequence_id"],
            "captured_at": pd.to_datetime(table["captured_at"], unit="ms", utc=True),
            "east_m": (table["lon"] - table["lon"].mean()) * east_scale,
            "north_m": (table["lat"] - table["lat"].mean()) * M_PER_DEGREE,
            "up_m": table["altitude"],
            "heading_deg": table["compass_angle"],
        }
    )
    images.to_parquet(folder / "images.parquet")
    first = table.iloc[0]
    width, height = int(first["width"]), int(first["height"])
    in_35mm = float(first["exif_focal35_mm"])
    focal = in_35mm / 36.0 * width if np.isfinite(in_35mm) else 1.2 * width  # as COLMAP guesses
    camera = {
        "camera_id": [1],
        "camera_key": [source.name],
        "model": ["SIMPLE_RADIAL"],
        "width": [width],
        "height": [height],
        "params": [[focal, width / 2, height / 2, 0.0]],
        "has_prior_focal": [bool(np.isfinite(in_35mm))],
    }
    pd.DataFrame(camera).to_parquet(folder / "cameras.parquet")
    return len(images)
