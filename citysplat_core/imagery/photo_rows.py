"""What plan and catalog say of a box's photos, joined."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from citysplat_core.errors import ImageError
from citysplat_core.geography import CityFrame
from citysplat_core.imagery.rotations import rotations_in_city_frame
from citysplat_core.imagery.tables import CATALOG_SCHEMA, read_table

_PLANNED = ("image_id", "colmap_id", "box", "east_m", "north_m", "up_m", "heading_deg")


def rows_of(box: str, plan_images: Path, catalog: Path, frame: CityFrame) -> list[dict[str, Any]]:
    """Join plan and catalog for a box.

    Args:
        box: Key of the box.
        plan_images: The plan's ``images.parquet``.
        catalog: The ``catalog.parquet``.
        frame: The city frame, which rotations are turned into.

    Returns:
        One row a photo, sorted by colmap_id: the catalog's columns with the plan's number, place
        and heading.

    Raises:
        ImageError: The plan names photos that the catalog does not have.
        StorageError: The catalog cannot be read.
    """
    plan = pq.read_table(plan_images, columns=list(_PLANNED), filters=[("box", "==", box)])
    wanted = [name for name in CATALOG_SCHEMA.names if name not in {"colmap_id", "heading_deg"}]
    described = read_table(catalog, CATALOG_SCHEMA, wanted)
    described = described.filter(pc.is_in(described.column("image_id"), plan.column("image_id")))
    facts = {row["image_id"]: row for row in described.to_pylist()}
    missing = [i for i in plan.column("image_id").to_pylist() if i not in facts]
    if missing:
        raise ImageError(
            f"{len(missing)} photos of the plan are not in the catalog (first {missing[:3]})",
            expected="a plan made from this catalog",
            fix="Make the box plan again.",
            box=box,
        )
    rows = [facts[row["image_id"]] | row for row in plan.to_pylist()]
    rows.sort(key=lambda row: int(row["colmap_id"]))
    _turn_rotations(rows, frame)
    return rows


def _turn_rotations(rows: list[dict[str, Any]], frame: CityFrame) -> None:
    names = ("rotation_x", "rotation_y", "rotation_z")
    local = np.array([[row[name] for name in names] for row in rows], float).reshape(-1, 3)
    lon = np.array([row["lon"] for row in rows], float)
    lat = np.array([row["lat"] for row in rows], float)
    turned = rotations_in_city_frame(local, lon, lat, frame)
    for row, values in zip(rows, turned.tolist(), strict=True):
        row.update(zip(names, values, strict=True))


def rows_with_same_cameras(catalog: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read the catalog's listed rows of the makes and models of some photos, for their lenses."""
    columns = ["make", "model", "creator", "creator_id", "sequence_id", "camera_type", "source"]
    columns += ["width", "height", "focal_ratio", "k1", "k2", "status"]
    table = read_table(catalog, CATALOG_SCHEMA, columns)
    keep = pc.equal(table.column("status"), "listed")
    for name in ("make", "model"):
        values = pa.array(sorted({row[name] for row in rows}, key=str), pa.string())
        keep = pc.and_(keep, pc.is_in(table.column(name), values))
    return list(table.filter(keep).to_pylist())
