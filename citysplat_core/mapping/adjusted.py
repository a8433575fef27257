"""What the joint adjustment made of a box: its tables, and the box's models in the city frame."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pycolmap

from citysplat_core.errors import MappingError
from citysplat_core.mapping.tables import (
    POSE_COLUMNS,
    pose_of,
    read_overlaps,
    read_registered,
    read_transforms,
    write_table,
)
from citysplat_core.storage import digest_of_frame, read_json, write_json

log = logging.getLogger(__name__)

FOLDER: Final = "adjusted"
START_COLUMNS: Final = ("start_east_m", "start_north_m", "start_up_m")

PHOTO_SCHEMA: Final = pa.schema(
    [
        ("colmap_id", pa.int32()),
        ("component", pa.int32()),
        *[(name, pa.float64()) for name in (*POSE_COLUMNS, *START_COLUMNS)],
    ]
)
"""``adjusted/<box>.parquet``: poses in the city frame, and where the photo stood before. Photos of
neighbours that took part have the component -1."""

POINT_SCHEMA: Final = pa.schema(
    [
        ("component", pa.int32()),
        ("point3D_id", pa.int64()),
        *[(name, pa.float64()) for name in ("east_m", "north_m", "up_m")],
    ]
)
"""``adjusted/<box>.points.parquet``: the points of the box's components that fit."""


@dataclass(frozen=True, kw_only=True)
class Adjusted:
    """A box after joint adjustment.

    Attributes:
        photos: Columns of ``PHOTO_SCHEMA``.
        points: Columns of ``POINT_SCHEMA``.
        told: ``box``, ``key`` (what it was made of), ``refused`` (why it is not used; empty if it
            is), ``models`` (digest of the poses of each of its components as they were solved, by
            number as text), ``lenses`` (parameters of each camera, by its id as text), and numbers.
    """

    photos: pd.DataFrame
    points: pd.DataFrame
    told: dict[str, Any]

    @property
    def own(self) -> pd.DataFrame:
        """The photos of the box's own components; none if the adjustment is refused."""
        kept = (self.photos["component"] >= 0) & (not self.told["refused"])
        return self.photos[kept]


def files_of(box: str) -> tuple[str, str, str]:
    """Name the files of a box inside its folder; the last one is written last."""
    return f"{box}.parquet", f"{box}.points.parquet", f"{box}.json"


def write_adjusted(folder: Path, adjusted: Adjusted) -> None:
    """Write a box into a folder that exists."""
    photos, points, told = (folder / name for name in files_of(adjusted.told["box"]))
    told.unlink(missing_ok=True)  # a kill in between must not leave it beside half a table
    write_table(photos, adjusted.photos, PHOTO_SCHEMA)
    write_table(points, adjusted.points, POINT_SCHEMA)
    write_json(told, adjusted.told)


def read_adjusted(folder: Path, box: str) -> Adjusted | None:
    """Read a box; None if it is not there whole.

    Raises:
        MappingError: It is there and cannot be read.
    """
    photos, points, told = (folder / name for name in files_of(box))
    if not told.is_file():
        return None
    try:
        return Adjusted(
            photos=pd.read_parquet(photos), points=pd.read_parquet(points), told=read_json(told)
        )
    except (OSError, pa.ArrowException) as error:
        raise MappingError(
            f"{photos} cannot be read ({error})",
            expected="the tables of an adjusted box",
            fix="Materialize city_alignment again.",
            box=box,
        ) from error


def digests_of_poses(rows: pd.DataFrame) -> dict[str, str]:
    """Digest the poses of components as they were solved: what an adjustment was made of.

    Args:
        rows: component, colmap_id and the pose columns of registrations of a box, in any order.

    Returns:
        By number of the component, as text.
    """
    table = rows[["component", "colmap_id", *POSE_COLUMNS]].astype({"colmap_id": "int64"})
    groups = table.groupby("component")
    return {str(k): digest_of_frame(group.drop(columns="component")) for k, group in groups}


def load_city_models(
    box: str, sparse_model: Path, city_alignment: Path
) -> dict[int, pycolmap.Reconstruction]:
    """Load the accepted components of a box as they stand in the city.

    Args:
        box: Key of the box.
        sparse_model: Its artifact.
        city_alignment: The artifact.

    Returns:
        By component: moved by its similarity and then, if it was adjusted, with the adjusted poses
        and points; points that no longer fit are gone. The poses of an adjustment of another
        version of the component are not used: a warning says so.

    Raises:
        MappingError: A table is missing.
    """
    transforms = {k: t for (key, k), t in read_transforms(city_alignment).items() if key == box}
    adjusted = read_adjusted(city_alignment / FOLDER, box)
    digests = {}
    if adjusted is not None:
        solved = pd.concat([read_registered(sparse_model), read_overlaps(sparse_model)])
        digests = digests_of_poses(solved)
    models = {}
    for number, city_from_model in sorted(transforms.items()):
        model = pycolmap.Reconstruction(sparse_model / "components" / str(number))
        model.transform(city_from_model)
        if adjusted is not None and (adjusted.own["component"] == number).any():
            if adjusted.told["models"].get(str(number)) == digests.get(str(number)):
                _apply(model, adjusted, number)
            else:
                log.warning(
                    "Component %d of box %s was solved again after it was adjusted: only moved."
                    " Materialize city_alignment to adjust it.", number, box,
                )  # fmt: skip
        models[number] = model
    return models


def _apply(model: pycolmap.Reconstruction, adjusted: Adjusted, number: int) -> None:
    photos = adjusted.own[adjusted.own["component"] == number]
    for camera_id in {model.image(i).camera_id for i in photos["colmap_id"].tolist()}:
        model.camera(camera_id).params = adjusted.told["lenses"][str(camera_id)]
    rows: list[Any] = list(photos.itertuples(index=False))
    for row in rows:
        image = model.image(row.colmap_id)
        model.frame(image.frame_id).set_cam_from_world(image.camera_id, pose_of(row))
    points = adjusted.points[adjusted.points["component"] == number]
    places = points[["east_m", "north_m", "up_m"]].to_numpy(float)
    kept = dict(zip(points["point3D_id"].tolist(), places, strict=True))
    for point_id in sorted(model.point3D_ids()):
        if point_id in kept:
            model.point3D(point_id).xyz = np.asarray(kept[point_id])
        else:
            model.delete_point3D(point_id)
    model.update_point_3d_errors()
