"""Sets of real photos as the photo step would leave them, with cameras made by its own rules."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from citysplat_core.geography import CityFrame
from citysplat_core.imagery.cameras import camera_for, distinct_cameras, lenses_of
from citysplat_core.imagery.exif import focal_ratio_35mm


def write_box(source: Path, folder: Path) -> None:
    """Write a set of photos as the artifact ``box_images``, cameras as the photo step makes them.

    Args:
        source: A folder with ``metadata.csv``, or with Mapillary's ``metadata.json``.
        folder: Gets ``images.parquet``, ``cameras.parquet`` and ``photos/``.
    """
    rows = _rows_of(source)
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    lenses = lenses_of(rows)
    cameras = []
    for row in rows:
        with Image.open(source / row["file"]) as photo:
            cameras.append(camera_for(row, *photo.size, lenses))
        link = folder / "photos" / f"{row['image_id']}.jpg"
        link.unlink(missing_ok=True)
        link.symlink_to((source / row["file"]).resolve())
    frame = CityFrame(rows[0]["lon"], rows[0]["lat"], 0.0)
    place = [np.array([row[key] for row in rows], float) for key in ("lon", "lat", "altitude")]
    enu = frame.enu(*place)
    pd.DataFrame(
        {
            "image_id": [row["image_id"] for row in rows],
            "colmap_id": np.arange(len(rows)) + 1,
            "camera_id": [camera.camera_id for camera in cameras],
            "status": "ok",
            "width": [camera.width for camera in cameras],
            "height": [camera.height for camera in cameras],
            "sequence_id": [row["sequence_id"] for row in rows],
            "captured_at": pd.to_datetime([row["ms"] for row in rows], unit="ms", utc=True),
            "east_m": enu[:, 0],
            "north_m": enu[:, 1],
            "up_m": enu[:, 2],
            "heading_deg": np.array([row["heading_deg"] for row in rows], float),
        }
    ).to_parquet(folder / "images.parquet")
    table = pd.DataFrame([asdict(camera) for camera in distinct_cameras(cameras)])
    table["params"] = table["params"].map(list)
    table.to_parquet(folder / "cameras.parquet")


def _rows_of(source: Path) -> list[dict[str, Any]]:
    """Read what a set says of its photos, named as in the catalog."""
    if (source / "metadata.json").is_file():
        sequences = json.loads((source / "metadata.json").read_text())
        return [_mapillary_row(row) for found in sequences.values() for row in found]
    table = pd.read_csv(source / "metadata.csv")
    return [_folder_row(row) for row in table.to_dict("records")]


def _folder_row(row: dict[str, Any]) -> dict[str, Any]:
    focal = row["exif_focal35_mm"]
    return {
        "image_id": str(row["id"]), "file": row["file"], "sequence_id": row["sequence_id"],
        "ms": row["captured_at"], "lon": row["lon"], "lat": row["lat"],
        "altitude": row["altitude"], "heading_deg": row["compass_angle"], "source": "folder",
        "camera_type": row["camera_type"], "make": row["make"], "model": row["model"],
        "creator": None, "creator_id": None, "width": row["width"], "height": row["height"],
        "focal_ratio": focal_ratio_35mm(focal if math.isfinite(focal) else None),
        "k1": math.nan, "k2": math.nan,
    }  # fmt: skip


def _mapillary_row(row: dict[str, Any]) -> dict[str, Any]:
    focal, k1, k2 = row["camera_parameters"]
    return {
        "image_id": str(row["image_id"]), "file": row["file"], "sequence_id": row["seq_id"],
        "ms": row["captured_at_ms"], "lon": row["lon"], "lat": row["lat"],
        "altitude": row["altitude"], "heading_deg": math.nan, "source": "mapillary",
        "camera_type": row["camera_type"], "make": row["make"], "model": row["model"],
        "creator": None, "creator_id": None, "width": row["width"], "height": row["height"],
        "focal_ratio": focal, "k1": k1, "k2": k2,
    }  # fmt: skip
