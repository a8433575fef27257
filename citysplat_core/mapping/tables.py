"""The tables of sparse models and of the alignment: their columns, writing and reading."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pycolmap

from citysplat_core.errors import MappingError
from citysplat_core.storage import read_json

POSE_COLUMNS: Final = ("qw", "qx", "qy", "qz", "tx", "ty", "tz", "east_m", "north_m", "up_m")
"""``cam_from_world`` as unit quaternion and translation, then the camera's centre, metres."""

_POSE: Final = [(name, pa.float64()) for name in POSE_COLUMNS]

IMAGE_SCHEMA: Final = pa.schema(
    [
        ("image_id", pa.string()),
        ("colmap_id", pa.int32()),
        ("component", pa.int32()),
        ("is_home", pa.bool_()),
        *_POSE,
        ("gps_residual_m", pa.float64()),
        ("n_observations", pa.int32()),
        ("state", pa.string()),
    ]
)
"""``images.parquet`` of a sparse model. ``state``: ``registered``, ``pruned`` (contradicts GPS),
``loose`` (a neighbour's photo that hardly sees what the box's own see), ``refused`` (its component
is not accepted) or ``unconnected``."""

TURN_SCHEMA: Final = pa.schema(
    [
        ("colmap_id_a", pa.int32()),
        ("colmap_id_b", pa.int32()),
        ("component_a", pa.int32()),
        ("component_b", pa.int32()),
        *((name, pa.float64()) for name in ("qw", "qx", "qy", "qz")),
        ("n_matches", pa.int32()),
    ]
)
"""``turns.parquet`` of a sparse model: the rotation of camera b from camera a by their matches."""

COMPONENT_SCHEMA: Final = pa.schema(
    [
        ("component", pa.int32()),
        ("n_images", pa.int32()),
        ("n_home_images", pa.int32()),
        ("n_points", pa.int32()),
        ("mean_track_length", pa.float64()),
        ("reproj_error_px", pa.float64()),
        ("gps_residual_median_m", pa.float64()),
        ("gps_residual_p90_m", pa.float64()),
        ("extent_m", pa.float64()),
        ("gps_extent_m", pa.float64()),
        ("scale_std", pa.float64()),
        ("accepted", pa.bool_()),
        ("reason", pa.string()),
    ]
)
"""``components.parquet``; ``scale_std`` is relative (0.02: 2 %)."""

CAMERA_SCHEMA: Final = pa.schema(
    [
        ("image_id", pa.string()),
        ("colmap_id", pa.int32()),
        ("box", pa.string()),
        ("component", pa.int32()),
        ("solved_in", pa.string()),
        *_POSE,
        ("lon", pa.float64()),
        ("lat", pa.float64()),
        ("alt_m", pa.float64()),
        ("gps_residual_m", pa.float64()),
    ]
)
"""``cameras.parquet`` of the alignment; ``component`` belongs to the box ``solved_in``."""

FRINGE_SCHEMA: Final = pa.schema(
    [
        ("fringe", pa.string()),
        ("n_shared", pa.int32()),
        ("before_m", pa.float64()),
        ("after_m", pa.float64()),
        ("state", pa.string()),
    ]
)
"""``fringes.parquet``; ``state``: ``tied``, ``apart`` (the two boxes do not agree), ``too few
shared`` or ``not solved``."""


def write_table(path: Path, rows: pd.DataFrame | Sequence[Mapping[str, Any]], schema: Any) -> None:  # noqa: ANN401 - pyarrow has no types
    """Write rows with exactly the columns and types of a schema; no rows give a whole empty table.

    Args:
        path: The Parquet file to make (zstd).
        rows: A table, or one mapping a row, with all columns of the schema.
        schema: A pyarrow schema.
    """
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
    if frame.empty:
        table = schema.empty_table()
    else:
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    pq.write_table(table, path, compression="zstd")


def pose_row(cam_from_world: pycolmap.Rigid3d) -> dict[str, float]:
    """Give the pose columns of a camera pose."""
    qx, qy, qz, qw = cam_from_world.rotation.quat
    center = cam_from_world.inverse().translation
    values = (qw, qx, qy, qz, *cam_from_world.translation, *center)
    return dict(zip(POSE_COLUMNS, (float(v) for v in values), strict=True))


def missing_pose_row() -> dict[str, float]:
    """Give the pose columns of a photo without a pose."""
    return dict.fromkeys(POSE_COLUMNS, float("nan"))


def pose_of(row: Any) -> pycolmap.Rigid3d:  # noqa: ANN401 - a named tuple of a table
    """Read ``cam_from_world`` back from a row's pose columns."""
    rotation = pycolmap.Rotation3d(np.array([row.qx, row.qy, row.qz, row.qw]))
    return pycolmap.Rigid3d(rotation, np.array([row.tx, row.ty, row.tz]))


def read_images(sparse_model: Path) -> pd.DataFrame:
    """Read every photo that the mapper saw, registered or not, sorted by colmap_id."""
    return _read(sparse_model / "images.parquet")


def read_registered(sparse_model: Path) -> pd.DataFrame:
    """Read the photos of accepted components: columns of ``IMAGE_SCHEMA``, city frame.

    Args:
        sparse_model: Directory of the artifact.

    Returns:
        One row a photo, sorted by colmap_id; a photo that two components hold stands with the
        larger one (see `read_overlaps`).

    Raises:
        MappingError: The table is missing.
    """
    rows = read_images(sparse_model)
    return rows[rows["component"] >= 0].reset_index(drop=True)


def read_overlaps(sparse_model: Path) -> pd.DataFrame:
    """Read the further poses of photos that several components of the box hold."""
    return _read(sparse_model / "overlaps.parquet")


def read_turns(sparse_model: Path) -> pd.DataFrame:
    """Read how cameras turn between the components of the box; older models do not say it."""
    path = sparse_model / "turns.parquet"
    return _read(path) if path.exists() else TURN_SCHEMA.empty_table().to_pandas()


def read_components(sparse_model: Path) -> pd.DataFrame:
    """Read the judged components, accepted ones first, each group by falling size."""
    return _read(sparse_model / "components.parquet")


def read_aligned(city_alignment: Path) -> pd.DataFrame:
    """Read the aligned camera of every registered photo of the city."""
    return _read(city_alignment / "cameras.parquet")


def read_transforms(city_alignment: Path) -> dict[tuple[str, int], pycolmap.Sim3d]:
    """Read ``aligned_from_city`` of every accepted component, by (box, component)."""
    value = read_json(city_alignment / "transforms.json")
    found = {}
    for row in value["components"]:
        w, x, y, z = row["rotation_wxyz"]
        rotation = pycolmap.Rotation3d(np.array([x, y, z, w]))
        sim = pycolmap.Sim3d(row["scale"], rotation, np.array(row["translation_m"]))
        found[str(row["box"]), int(row["component"])] = sim
    return found


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError as error:
        raise MappingError(
            f"{path} does not exist",
            expected="a finished sparse model or alignment",
            fix="Materialize it first (`citysplat run`).",
        ) from error
