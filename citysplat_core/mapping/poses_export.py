"""The solved camera poses as a layer of points: a product of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.spatial.transform import Rotation

from citysplat_core.errors import MappingError, StorageError
from citysplat_core.geography import CityFrame
from citysplat_core.imagery.export_layers import Layer
from citysplat_core.imagery.geoparquet import ROWS_AT_ONCE, points_of
from citysplat_core.imagery.rotations import rotations_in_city_frame
from citysplat_core.imagery.tables import CAPTURED_AT
from citysplat_core.mapping.accuracy import GpsErrors, estimate_accuracy
from citysplat_core.mapping.angles import Floats, matrices_of, view_angles_deg
from citysplat_core.mapping.tables import read_aligned
from citysplat_core.settings import AlignSettings, City
from citysplat_core.storage import ArtifactStore

_NUMBERS: Final = (
    *("lon", "lat", "height_m", "heading_deg", "pitch_deg", "roll_deg"),
    *("accuracy_horizontal_m", "accuracy_vertical_m", "gps_residual_m", "gps_residual_up_m"),
)
_TEXTS: Final = ("sequence_id", "creator", "source", "licence")

POSE_SCHEMA: Final = pa.schema(
    [
        *[("image_id", pa.string()), ("colmap_id", pa.int32()), ("box", pa.string())],
        *[("solved_in", pa.string()), ("component", pa.int32())],
        *[(name, pa.float64()) for name in _NUMBERS],
        ("captured_at", CAPTURED_AT),
        *[(name, pa.string()) for name in _TEXTS],
    ]
)
"""One row a solved photo, sorted by box and colmap_id. ``box`` is the photo's home, ``component``
one of the box ``solved_in``. lon and lat are EPSG:4326, ``height_m`` is above what the source's
altitudes are above (NaN: no photo of the component has one; the place within the component is then
all that is known). Angles are those of ``angles.view_angles_deg`` against true north and the local
vertical. Accuracies are expected root-mean-square errors, see ``mapping.accuracy``."""


def open_poses(city: City, *, box: str = "") -> Layer:
    """Open the solved poses of a city or a box as a layer that ``write_layer`` exports.

    Args:
        city: The city; it needs a ``city_alignment``.
        box: Only photos whose home is this box; empty: all.

    Raises:
        StorageError: An artifact is missing.
        MappingError: The city has no such box.
    """
    store = ArtifactStore(city.root)
    alignment, plan = store.need("city_alignment"), store.need("box_plan")
    table = read_poses(
        alignment.path,
        plan_images=plan.path / "images.parquet",
        catalog=store.need("image_catalog").path / "catalog.parquet",
        frame=city.frame(),
        settings=city.settings.align,
    )
    if box:
        known = set(pd.read_parquet(plan.path / "images.parquet", columns=["box"])["box"])
        if box not in known:
            raise MappingError(
                "the plan has no such box",
                expected=f"one of {len(known)} boxes, as {min(known, default='')}",
                fix="Take a key from `citysplat status`.",
                box=box,
            )
        table = table[table["box"] == box].reset_index(drop=True)
    return _layer(table)


def read_poses(
    city_alignment: Path,
    *,
    plan_images: Path,
    catalog: Path,
    frame: CityFrame,
    settings: AlignSettings,
) -> pd.DataFrame:
    """Read the solved poses of a city with angles, accuracies and credits.

    Args:
        city_alignment: The artifact.
        plan_images: ``images.parquet`` of the plan: the GPS positions.
        catalog: ``catalog.parquet``: times, sequences and creators.
        frame: The city frame.
        settings: What is expected of GPS.

    Returns:
        The columns of ``POSE_SCHEMA``, sorted by box and colmap_id; unknown numbers are NaN.

    Raises:
        MappingError: The alignment's table is missing.
        StorageError: The catalog is of another version.
    """
    cameras = read_aligned(city_alignment)
    gps = pd.read_parquet(plan_images, columns=["colmap_id", "east_m", "north_m", "up_m"])
    names = {"east_m": "gps_east_m", "north_m": "gps_north_m", "up_m": "gps_up_m"}
    table = cameras.merge(gps.rename(columns=names), on="colmap_id", how="left")
    table = table.merge(_credits(catalog), on="image_id", how="left")
    table = table.sort_values(["box", "colmap_id"], ignore_index=True)
    errors = GpsErrors(settings.gps_sigma_m, settings.gps_sigma_up_m, settings.up_sigma_deg)
    horizontal, vertical = estimate_accuracy(table, errors)
    angles = _angles(table, frame)
    rows: pd.DataFrame = table.assign(
        height_m=np.where(np.isfinite(vertical), table["alt_m"], np.nan),
        heading_deg=angles[:, 0],
        pitch_deg=angles[:, 1],
        roll_deg=angles[:, 2],
        accuracy_horizontal_m=horizontal,
        accuracy_vertical_m=vertical,
        gps_residual_up_m=(table["up_m"] - table["gps_up_m"]).abs(),
    )[POSE_SCHEMA.names]
    return rows


def _credits(catalog: Path) -> pd.DataFrame:
    """Read who took which photo when."""
    names = ["image_id", "captured_at", *_TEXTS]
    missing = sorted({*names, "creator_id"} - set(pq.read_schema(catalog).names))
    if missing:
        raise StorageError(
            f"{catalog} lacks {', '.join(missing)}",
            expected="an image_catalog of this version of CitySplat",
            fix="Materialize image_catalog again (`citysplat run`).",
        )
    return pd.read_parquet(catalog, columns=names)


def _angles(table: pd.DataFrame, frame: CityFrame) -> Floats:
    """Give view angles against each photo's own north and vertical."""
    lon, lat = table["lon"].to_numpy(float), table["lat"].to_numpy(float)
    local_from_city = rotations_in_city_frame(np.zeros((len(table), 3)), lon, lat, frame)
    camera_from_city = matrices_of(table[["qw", "qx", "qy", "qz"]].to_numpy(float))
    if not len(table):
        return np.zeros((0, 3))
    city_from_local = Rotation.from_rotvec(local_from_city).inv().as_matrix()
    return view_angles_deg(camera_from_city @ city_from_local)


def _layer(table: pd.DataFrame) -> Layer:
    whole = POSE_SCHEMA.append(pa.field("geometry", pa.binary()))

    def parts() -> Iterator[pa.Table]:
        for start in range(0, len(table), ROWS_AT_ONCE):
            rows = table.iloc[start : start + ROWS_AT_ONCE]
            part = pa.Table.from_pandas(rows, schema=POSE_SCHEMA, preserve_index=False)
            points = points_of(rows["lon"].to_numpy(float), rows["lat"].to_numpy(float))
            yield part.append_column("geometry", points).cast(whole)

    return Layer(
        name="poses", geometry_type="Point", schema=POSE_SCHEMA, n_rows=len(table), parts=parts
    )
