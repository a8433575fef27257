"""The map layers of the finished city, as GeoJSON in EPSG:4326."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from citysplat_core.city.cameras import headings_deg
from citysplat_core.geography import Box, BoxPlan


def boxes_layer(
    plan: BoxPlan, described: Mapping[str, Mapping[str, Any]], alignment: Path | None
) -> dict[str, Any]:
    """Draw boxes as squares and fringes as the border that two boxes share.

    Args:
        plan: The box plan.
        described: Each box's entry of ``city.json``, by key.
        alignment: The ``city_alignment`` artifact, for the seams' states; or None.

    Returns:
        A feature collection; ``kind`` is ``box``, ``edge`` or ``corner``.
    """
    seams = _seams(alignment)
    by_key = {box.key: box for box in plan.boxes}
    features = [_box_feature(box, described[box.key]) for box in plan.boxes]
    for fringe in plan.fringes:
        properties = {"key": fringe.key, "kind": fringe.kind, "n_images": fringe.n_images}
        properties |= seams.get(fringe.key, {"state": "unknown"})
        shape = shared_border(by_key[fringe.a], by_key[fringe.b])
        features.append({"type": "Feature", "properties": properties, "geometry": shape})
    return {"type": "FeatureCollection", "features": features}


def _box_feature(box: Box, described: Mapping[str, Any]) -> dict[str, Any]:
    w, s, e, n = box.west, box.south, box.east, box.north
    names = ("key", "state", "reason", "n_images", "n_registered", "psnr_db")
    return {
        "type": "Feature",
        "properties": {"kind": "box", **{name: described[name] for name in names}},
        "geometry": {"type": "Polygon", "coordinates": [[[w, s], [e, s], [e, n], [w, n], [w, s]]]},
    }


def shared_border(a: Box, b: Box) -> dict[str, Any]:
    """Give the border that two touching boxes share: a line, or a point at a corner."""
    west, east = max(a.west, b.west), min(a.east, b.east)
    south, north = max(a.south, b.south), min(a.north, b.north)
    # Boxes of different zooms compute the same border with different rounding.
    if abs(east - west) < 1e-9 and abs(north - south) < 1e-9:
        return {"type": "Point", "coordinates": [west, south]}
    return {"type": "LineString", "coordinates": [[west, south], [east, north]]}


def _seams(alignment: Path | None) -> dict[str, dict[str, Any]]:
    if alignment is None:
        return {}
    table = pd.read_parquet(alignment / "fringes.parquet")
    return {
        str(row["fringe"]): {
            "state": str(row["state"]),
            "n_shared": int(row["n_shared"]),
            "after_m": rounded(row["after_m"], 3),
        }
        for row in table.to_dict("records")
    }


def cameras_layer(photos: pd.DataFrame, cameras: pd.DataFrame) -> dict[str, Any]:
    """Draw every photo of the plan: at its solved place, or where its metadata says.

    Args:
        photos: The plan's ``images.parquet``.
        cameras: ``registered_cameras``.

    Returns:
        A feature collection of points with image_id, box, heading_deg (null if unknown) and
        registered; sorted as the plan.
    """
    solved = pd.DataFrame(
        {
            "image_id": cameras["image_id"],
            "lon_solved": cameras["lon"],
            "lat_solved": cameras["lat"],
            "solved_deg": headings_deg(cameras),
        }
    )
    table = photos.merge(solved, on="image_id", how="left", validate="one_to_one")
    known = table["solved_deg"].notna().to_numpy()
    lon = np.where(known, table["lon_solved"], table["lon"])
    lat = np.where(known, table["lat_solved"], table["lat"])
    heading = np.where(known, table["solved_deg"], table["heading_deg"])
    features = [
        {
            "type": "Feature",
            "properties": {
                "image_id": str(image_id),
                "box": str(box),
                "heading_deg": rounded(float(turn), 1),
                "registered": bool(done),
            },
            "geometry": {"type": "Point", "coordinates": [round(float(x), 7), round(float(y), 7)]},
        }
        for image_id, box, turn, done, x, y in zip(
            table["image_id"], table["box"], heading, known, lon, lat, strict=True
        )
    ]
    return {"type": "FeatureCollection", "features": features}


def rounded(value: float | None, digits: int) -> float | None:
    """Round a number for JSON; missing ones (None, NaN, infinite) become None."""
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), digits)
