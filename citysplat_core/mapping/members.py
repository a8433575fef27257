"""Which photos a box's mapper sees: its own, and those of its neighbours along the border."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from citysplat_core.errors import MappingError
from citysplat_core.features import image_name

_COLUMNS = [
    *("image_id", "colmap_id", "camera_id", "box", "is_home", "east_m", "north_m", "up_m"),
    *("sequence_id", "captured_at", "heading_deg", "rotation_x", "rotation_y", "rotation_z"),
    "sha256",
]


def choose_images(
    box: str,
    box_images: Mapping[str, Path],
    fringe_matches: Mapping[str, Path],
    fringe_images: Path,
) -> pd.DataFrame:
    """Take all usable home photos and the neighbours' photos of the given fringes.

    Args:
        box: Key of the box.
        box_images: Artifacts of the box and of the neighbours that have fringe photos.
        fringe_matches: Artifacts of the fringes, by key.
        fringe_images: The plan's table of fringe photos.

    Returns:
        One row a photo, sorted by colmap_id; see ``Workspace.images``.

    Raises:
        MappingError: The photos of a box are not given.
    """
    fringe = pd.read_parquet(fringe_images)
    guests = fringe[fringe["fringe"].isin(list(fringe_matches)) & (fringe["box"] != box)]
    missing = ({box} | set(guests["box"])) - set(box_images)
    if missing:
        raise MappingError(
            f"the photos of {sorted(missing)} are not given",
            expected="box_images of the box and of every neighbour with fringe photos",
            fix="Materialize box_images of these boxes first.",
            box=box,
        )
    tables = []
    for key, path in sorted(box_images.items()):
        table = _read_photos(path / "images.parquet", key)
        table = table[table["status"] == "ok"]
        if key != box:
            table = table[table["colmap_id"].isin(guests.loc[guests["box"] == key, "colmap_id"])]
        tables.append(table.assign(box=key, is_home=key == box))
    rows = pd.concat([table.reindex(columns=_COLUMNS) for table in tables])
    rows = rows.sort_values("colmap_id").reset_index(drop=True)
    place = rows[["east_m", "north_m", "up_m"]].astype(float)
    rows[["east_m", "north_m", "up_m"]] = place.where(np.isfinite(place))
    return rows


def _read_photos(file: Path, box: str) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except (OSError, pa.ArrowException) as error:
        raise MappingError(
            f"{file} cannot be read ({' '.join(str(error).split())})",
            expected="the table of photos of a finished box_images",
            fix="Restore it (`citysplat restore`), or materialize box_images of this box again.",
            box=box,
        ) from error


def with_sources(images: pd.DataFrame, plan_images: Path | None) -> pd.DataFrame:
    """Add position_source: who gave each photo's position; reads only the rows of these boxes.

    Args:
        images: What ``choose_images`` gave.
        plan_images: ``images.parquet`` of the plan; None: all count as ``gps``.
    """
    if plan_images is None:
        return images.assign(position_source="gps")
    where = [("box", "in", sorted(set(images["box"])))]
    plan = pd.read_parquet(plan_images, columns=["colmap_id", "position_source"], filters=where)
    sources = plan.drop_duplicates("colmap_id").set_index("colmap_id")["position_source"]
    return images.assign(position_source=images["colmap_id"].map(sources).fillna("gps"))


def link_photos(images: pd.DataFrame, box_images: Mapping[str, Path], folder: Path) -> Path:
    """Make a folder with a link to every photo, by its COLMAP name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for row in images.itertuples(index=False):
        name = image_name(str(row.image_id))
        (folder / name).symlink_to((box_images[str(row.box)] / "photos" / name).resolve())
    return folder
