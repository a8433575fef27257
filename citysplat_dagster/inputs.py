"""Versions of the slices that a box or fringe reads of a city-wide table.

A box hangs on its own rows only: news elsewhere in the city leave its recipe as it is.
"""

from pathlib import Path

from citysplat_core.mapping.adjusted import FOLDER, read_adjusted
from citysplat_core.mapping.tables import POSE_COLUMNS
from citysplat_core.settings import City
from citysplat_core.storage import digest_of, digest_of_frame, digest_of_table, read_json, sha256_of


def box_rows(box: str, plan: Path) -> str:
    """Digest what plan and catalog say of a box's photos; reads the rows of that box only."""
    where = [("box", "==", box)]
    return digest_of([digest_of_table(table, where=where) for table in box_tables(plan)])


def box_tables(plan: Path) -> list[Path]:
    """List the tables of a plan that have rows of each box."""
    return [plan / "images.parquet", *sorted(plan.glob("*_by_box.parquet"))]


def fringe_members(plan: Path, *fringes: str) -> str:
    """Digest which photos belong to some fringes; none belong to none."""
    if not fringes:
        return digest_of([])
    return digest_of_table(plan / "fringe_images.parquet", where=[("fringe", "in", list(fringes))])


def placement(alignment: Path, box: str) -> str:
    """Digest where a box's own models stand: other boxes' moves do not count.

    Of components that were adjusted with their fringes the poses count, of others the transforms,
    to 0.1 mm and 1e-7.
    """
    adjusted = read_adjusted(alignment / FOLDER, box)
    poses = None if adjusted is None else adjusted.own[["component", "colmap_id", *POSE_COLUMNS]]
    done = set() if poses is None else set(poses["component"])
    transforms = read_json(alignment / "transforms.json")["components"]
    own = [
        [
            t["component"],
            round(t["scale"], 7),
            [round(v, 7) for v in t["rotation_wxyz"]],
            [round(v, 4) for v in t["translation_m"]],
        ]
        for t in transforms
        if t["box"] == box and t["component"] not in done
    ]
    return digest_of([sorted(own), "" if poses is None else digest_of_frame(poses)])


def mask_model_of(city: City) -> Path | None:
    """Give the segmentation network that a city's masks ask for, or None if they ask for none."""
    masks = city.settings.masks
    named = "model" in masks.sources and masks.model_file
    return city.root / masks.model_file if named else None


def file_version(name: str, file: Path | None) -> dict[str, str]:
    """Digest a user's file, as inputs of a step; none for a file that is not there."""
    return {name: sha256_of(file)[:16]} if file is not None and file.is_file() else {}
