"""The photos of any COLMAP database, with what the user knows of them, ready for proposals."""

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pycolmap
from numpy.typing import NDArray

from citysplat_core.errors import MatchingError
from citysplat_core.features import connected
from citysplat_core.geography import CityFrame
from citysplat_core.matching.pairs import NO_SEQUENCE
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.standing import stays_of

_COLUMNS: Final = (
    "name", "east_m", "north_m", "heading_deg", "sequence_id", "captured_at", "creator", "side",
)  # fmt: skip


def photos_of_database(database: Path, known: pd.DataFrame | None = None) -> Photos:
    """Read the photos of a COLMAP database.

    Args:
        database: The database; it is only read.
        known: What is known of its photos: a row a photo, with the column ``name`` (as in the
            database) and any of ``east_m`` and ``north_m`` (metres, one frame for all),
            ``heading_deg`` (clockwise from north), ``sequence_id``, ``captured_at``, ``creator``,
            and ``side`` (0 or 1, of a border). Without positions the database's priors are taken.

    Returns:
        All photos, sorted by id. What nobody knows is NaN, or no sequence.

    Raises:
        MatchingError: A photo has no position, the priors are of two kinds, or a column or name of
            ``known`` is unknown.
        StorageError: The database is damaged.
    """
    with connected(database, read_only=True) as connection:
        rows = connection.execute("SELECT image_id, name, camera_id FROM images ORDER BY image_id")
        images = pd.DataFrame(rows.fetchall(), columns=["image_id", "name", "camera_id"])
    table = images.merge(_checked(images, known), on="name", how="left", validate="1:1")
    half_view, prior = _of_cameras_and_priors(database, table)
    position = table[["east_m", "north_m"]].to_numpy(dtype=np.float64, na_value=np.nan)
    position = np.where(np.isfinite(position).all(axis=1, keepdims=True), position, prior)
    lost = ~np.isfinite(position).all(axis=1)
    if lost.any():
        raise MatchingError(
            f"{int(lost.sum())} of {len(table)} photos have no position"
            f" ({', '.join(table['name'][lost][:3])})",
            expected="a position of every photo, as its prior in the database or in `known`",
            fix="Give east_m and north_m for them, or leave them out of the database.",
        )
    captured_at = pd.to_datetime(table["captured_at"], utc=True)
    milliseconds = captured_at.to_numpy(dtype="datetime64[ms]").astype(np.int64)
    sequence = _numbers(table["sequence_id"], NO_SEQUENCE)
    heading_deg = table["heading_deg"].to_numpy(dtype=np.float64, na_value=np.nan)
    return Photos(
        colmap_id=table["image_id"].to_numpy(dtype=np.int64),
        names=tuple(table["name"]),
        side=table["side"].fillna(0).to_numpy(dtype=np.int64),
        east_north_m=position,
        heading_deg=heading_deg,
        sequence=sequence,
        captured_at=milliseconds,
        creator=_numbers(table["creator"], -1),
        half_view=half_view,
        stay=stays_of(sequence, milliseconds, position, heading_deg),
    )


def _checked(images: pd.DataFrame, known: pd.DataFrame | None) -> pd.DataFrame:
    """Return what is known with all columns; refuse what would be passed over in silence."""
    given = pd.DataFrame({"name": images["name"]}) if known is None else known
    strange = [str(name) for name in given.columns if name not in _COLUMNS]
    if strange or "name" not in given:
        raise MatchingError(
            f"the table of photos has the columns {', '.join(map(str, given.columns))}",
            expected=f"name, and any of {', '.join(_COLUMNS[1:])}",
            fix="Rename or drop columns.",
        )
    absent = given["name"][~given["name"].isin(images["name"])].tolist()
    doubled = given["name"][given["name"].duplicated()].tolist()
    if absent or doubled:
        raise MatchingError(
            f"{len(absent)} names of the table are not in the database, {len(doubled)} are doubled"
            f" ({', '.join(map(str, (absent + doubled)[:3]))})",
            expected="a row a photo, named as in the database",
            fix="Correct the names.",
        )
    return given.reindex(columns=list(_COLUMNS))


def _numbers(values: pd.Series, missing: int) -> NDArray[np.int64]:
    numbers, _ = pd.factorize(values, sort=True)
    return np.where(numbers < 0, missing, numbers).astype(np.int64)


def _of_cameras_and_priors(
    database: Path, table: pd.DataFrame
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return tangents of half the angles of view (N, 2), and positions from priors (N, 2)."""
    with pycolmap.Database.open(database) as opened:
        cameras = {camera.camera_id: camera for camera in opened.read_all_cameras()}
        priors = {
            prior.corr_data_id.id: prior
            for prior in opened.read_all_pose_priors()
            if prior.corr_data_id.sensor_id.type == pycolmap.SensorType.CAMERA
        }
    tangents = np.full((len(table), 2), np.nan, dtype=np.float32)
    values = np.full((len(table), 3), np.nan)
    for row, (image_id, camera_id) in enumerate(
        table[["image_id", "camera_id"]].itertuples(index=False)
    ):
        camera = cameras[camera_id]
        if camera.has_prior_focal_length and camera.mean_focal_length() > 0:
            tangents[row] = np.array([camera.width, camera.height]) / 2 / camera.mean_focal_length()
        if image_id in priors:
            values[row] = priors[image_id].position
    there = np.isfinite(values[:, :2]).all(axis=1)
    systems = {prior.coordinate_system for prior in priors.values()}
    if pycolmap.PosePriorCoordinateSystem.WGS84 in systems and there.any():
        if len(systems) > 1:
            raise MatchingError(
                f"the position priors of {database.name} are of {len(systems)} kinds",
                expected="all in degrees, or all in metres",
                fix="Give east_m and north_m of all photos.",
            )
        lat, lon = values[there, 0], values[there, 1]
        frame = CityFrame(origin_lon=float(np.median(lon)), origin_lat=float(np.median(lat)))
        values[there] = frame.enu(lon, lat)
    return tangents, values[:, :2]
