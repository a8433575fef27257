"""What plan and catalog say of a box's photos, joined."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from citysplat_core.errors import ImageError
from citysplat_core.geography import CityFrame
from citysplat_core.imagery.metadata_scores import SCORES_SCHEMA
from citysplat_core.imagery.rotations import rotations_in_city_frame
from citysplat_core.imagery.tables import CATALOG_SCHEMA, read_table

_PLANNED = (
    *("image_id", "colmap_id", "box", "east_m", "north_m", "up_m", "heading_deg"),
    "position_source",
)


def rows_of(box: str, plan_images: Path, catalog: Path, frame: CityFrame) -> list[dict[str, Any]]:
    """Join plan, catalog and metadata scores for a box.

    Args:
        box: Key of the box.
        plan_images: The plan's ``images.parquet``; its tables by box beside it are used where they
            are, so that a box of a large city reads its own rows only.
        catalog: Folder with ``catalog.parquet`` and ``scores.parquet``.
        frame: The city frame, which rotations are turned into.

    Returns:
        One row a photo, sorted by colmap_id: the catalog's columns and the scores, with the plan's
        number, place and heading.

    Raises:
        ImageError: The plan names photos that the catalog does not have.
        StorageError: The catalog or its scores cannot be read.
    """
    plan = pq.read_table(plan_images, columns=list(_PLANNED), filters=[("box", "==", box)])
    ids = plan.column("image_id")
    wanted = [name for name in CATALOG_SCHEMA.names if name not in {"colmap_id", "heading_deg"}]
    described = _table_of(
        box, ids, plan_images, catalog / "catalog.parquet", CATALOG_SCHEMA, wanted
    )
    scores = _table_of(box, ids, plan_images, catalog / "scores.parquet", SCORES_SCHEMA)
    facts: dict[str, dict[str, Any]] = {row["image_id"]: row for row in described.to_pylist()}
    for row in scores.to_pylist():
        if row["image_id"] in facts:
            facts[row["image_id"]] |= row
    missing = [i for i in ids.to_pylist() if "sun_elevation_deg" not in facts.get(i, ())]
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


def _table_of(
    box: str,
    ids: pa.ChunkedArray,
    plan_images: Path,
    city_wide: Path,
    schema: pa.Schema,
    columns: list[str] | None = None,
) -> pa.Table:
    """Read the rows of a box from the plan's slice of a city-wide table, else from the table."""
    own = plan_images.with_name(f"{city_wide.stem}_by_box.parquet")
    if own.is_file():
        return read_table(own, schema, columns, where=[("box", "==", box)])
    table = read_table(city_wide, schema, columns)
    return table.filter(pc.is_in(table.column("image_id"), ids))


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
    texts = ["make", "model", "creator", "creator_id", "sequence_id", "camera_type", "source"]
    texts += ["status", "panorama_id"]
    columns = [*texts, "width", "height", "focal_ratio", "k1", "k2"]

    def has(name: str, *, unnamed: bool) -> pc.Expression:
        values = {row[name] for row in rows if row[name] or unnamed}
        return pc.field(name).isin(pa.array(sorted(values, key=str), pa.string()))

    # Views of panoramas have a camera of their own, whatever device took the panorama.
    keep = (pc.field("status") == "listed") & pc.field("panorama_id").is_null()
    keep &= has("make", unnamed=True) & has("model", unnamed=True)
    # A device belongs to a creator or a sequence: what others took with that model is not it.
    owned = pc.field("source") == "folder"
    for name in ("creator_id", "creator", "sequence_id"):
        owned |= has(name, unnamed=False)
    table = read_table(catalog, CATALOG_SCHEMA, columns, where=keep & owned, repeated=texts)
    return list(table.to_pylist())
