"""COLMAP databases with one global id space: create, merge, cut, finish, count.

Image ids are the catalog's ``colmap_id``, camera ids are those of ``cameras.parquet``,
``rig_id = camera_id`` and ``frame_id = pose_prior_id = image_id``. Since the ids are the same
in every database of a city, databases merge row by row; COLMAP's own merge renumbers and
refuses shared images.
"""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pycolmap
from numpy.typing import NDArray

from citysplat_core.errors import FeatureError

MAX_IMAGE_ID: Final = 2147483647
"""COLMAP's modulus of pair ids; image ids are smaller than this."""

_SHARED_TABLES: Final = ("cameras", "rigs", "rig_sensors", "frames", "frame_data", "images")
_PAIR_TABLES: Final = ("matches", "two_view_geometries")
_SELECTED_CAMERAS: Final = "IN (SELECT camera_id FROM src.images WHERE image_id IN sel)"
_SELECTED_ROWS: Final = {
    "cameras": f"camera_id {_SELECTED_CAMERAS}",
    "rigs": f"rig_id {_SELECTED_CAMERAS}",
    "rig_sensors": f"rig_id {_SELECTED_CAMERAS}",
    "images": "image_id IN sel",
    "frame_data": "sensor_type = 0 AND data_id IN sel",
    "frames": "frame_id IN (SELECT frame_id FROM src.frame_data"
    " WHERE sensor_type = 0 AND data_id IN sel)",
    "pose_priors": "corr_sensor_type = 0 AND corr_data_id IN sel",
    "keypoints": "image_id IN sel",
    "descriptors": "image_id IN sel",
}


def image_name(image_id: str) -> str:
    """Return the COLMAP image name of a catalog image: the file name of its photo."""
    return f"{image_id}.jpg"


def pair_id_of(colmap_id_a: int, colmap_id_b: int) -> int:
    """Return COLMAP's pair id, the same for both orders of the two images."""
    low, high = sorted((colmap_id_a, colmap_id_b))
    return low * MAX_IMAGE_ID + high


def create_database(
    path: Path,
    cameras: pd.DataFrame,
    images: pd.DataFrame,
    *,
    prior_std_m: float = 4.0,
    prior_std_up_m: float = 10.0,
    missing_up_std_m: float = 100.0,
) -> None:
    """Create a COLMAP database with cameras, rigs, frames, images and position priors.

    Args:
        path: The file to make; it must not exist.
        cameras: Rows of ``cameras.parquet``: camera_id, model, width, height, params,
            has_prior_focal. Only cameras that an image uses are written.
        images: Rows of ``images.parquet``: image_id, colmap_id, camera_id, east_m, north_m, up_m
            (city frame, metres).
        prior_std_m: Standard deviation of east and north in the prior's covariance, metres.
        prior_std_up_m: The same for a measured altitude, metres.
        missing_up_std_m: The same where ``up_m`` is NaN: such a prior takes the median height of
            the other images (0 if none has one) and this wide deviation, metres.

    Raises:
        FeatureError: The file exists, or an image names a camera that is not there.
    """
    if path.exists():
        raise FeatureError(
            f"database {path.name} exists already",
            expected="a new file",
            fix="Delete it, or merge into another file.",
        )
    used = cameras[cameras["camera_id"].isin(images["camera_id"])]
    missing = set(images["camera_id"]) - set(used["camera_id"])
    if missing:
        raise FeatureError(
            f"{len(missing)} camera ids of images are not in the table of cameras"
            f" ({sorted(missing)[:3]})",
            expected="every image's camera in cameras.parquet",
            fix="Materialize box_images again.",
        )
    known_up = images["up_m"].dropna()
    fallback_up_m = float(known_up.median()) if len(known_up) else 0.0
    ordered = images.sort_values("colmap_id")
    with pycolmap.Database.open(path) as database, pycolmap.DatabaseTransaction(database):
        for row in used.sort_values("camera_id").itertuples(index=False):
            _write_camera(database, row)
        for row in ordered.itertuples(index=False):
            image = _write_image(database, row)
            east_north_up = np.array([row.east_m, row.north_m, row.up_m], dtype=np.float64)
            std_m = np.array([prior_std_m, prior_std_m, prior_std_up_m])
            if np.isnan(east_north_up[2]):
                east_north_up[2], std_m[2] = fallback_up_m, missing_up_std_m
            if np.isfinite(east_north_up).all():
                _write_prior(database, image, east_north_up, std_m)


def _write_camera(database: pycolmap.Database, row: object) -> None:
    camera = pycolmap.Camera(
        camera_id=int(row.camera_id),  # type: ignore[attr-defined]
        model=str(row.model),  # type: ignore[attr-defined]
        width=int(row.width),  # type: ignore[attr-defined]
        height=int(row.height),  # type: ignore[attr-defined]
        params=[float(value) for value in row.params],  # type: ignore[attr-defined]
    )
    camera.has_prior_focal_length = bool(row.has_prior_focal)  # type: ignore[attr-defined]
    database.write_camera(camera, use_camera_id=True)
    rig = pycolmap.Rig(rig_id=camera.camera_id)
    rig.add_ref_sensor(pycolmap.sensor_t(pycolmap.SensorType.CAMERA, camera.camera_id))
    database.write_rig(rig, use_rig_id=True)


def _write_image(database: pycolmap.Database, row: object) -> pycolmap.Image:
    image = pycolmap.Image(
        name=image_name(str(row.image_id)),  # type: ignore[attr-defined]
        camera_id=int(row.camera_id),  # type: ignore[attr-defined]
        image_id=int(row.colmap_id),  # type: ignore[attr-defined]
    )
    frame = pycolmap.Frame(frame_id=image.image_id, rig_id=image.camera_id)
    frame.add_data_id(image.data_id)
    database.write_image(image, use_image_id=True)
    database.write_frame(frame, use_frame_id=True)
    return image


def _write_prior(
    database: pycolmap.Database,
    image: pycolmap.Image,
    position_m: NDArray[np.float64],
    std_m: NDArray[np.float64],
) -> None:
    prior = pycolmap.PosePrior(
        corr_data_id=image.data_id,
        position=position_m,
        position_covariance=np.diag(std_m**2),
        coordinate_system=pycolmap.PosePriorCoordinateSystem.CARTESIAN,
    )
    prior.pose_prior_id = image.image_id  # COLMAP's own numbering would collide in a merge
    database.write_pose_prior(prior, use_pose_prior_id=True)


def merge_databases(
    sources: Sequence[Path],
    out: Path,
    *,
    keep_descriptors: bool,
    image_ids: Collection[int] | None = None,
    keep_pairs: bool = True,
) -> None:
    """Unite databases of one city into a new one; shared images are written once.

    Args:
        sources: Databases with the city's global ids; they are only read.
        out: The file to make; it must not exist. It is finished (no WAL).
        keep_descriptors: Copy descriptors too; mapping never needs them.
        image_ids: Keep only these images, and the pairs between two of them; None keeps all.
            The cost then follows the selection, not the size of the sources.
        keep_pairs: Copy matches and two-view geometries.

    Raises:
        FeatureError: ``out`` exists, or two sources give one image different names, keypoint
            counts or cameras: they were not made from the same catalog and features.
    """
    if out.exists():
        raise FeatureError(
            f"database {out.name} exists already",
            expected="a new file",
            fix="Delete it, or merge into another file.",
        )
    pycolmap.Database.open(out).close()  # COLMAP writes its own schema
    with _writing(out) as connection:
        if image_ids is not None:
            connection.execute("CREATE TEMP TABLE sel (id INTEGER PRIMARY KEY)")
            rows = [(int(image_id),) for image_id in image_ids]
            connection.executemany("INSERT OR IGNORE INTO sel VALUES (?)", rows)
        for source in sources:
            uri = f"{source.resolve().as_uri()}?mode=ro"
            connection.execute("ATTACH DATABASE ? AS src", (uri,))
            _refuse_conflicts(connection, source)
            _copy_images(connection, keep_descriptors=keep_descriptors, cut=image_ids is not None)
            if keep_pairs:
                _copy_pairs(connection, cut=image_ids is not None)
            connection.commit()
            connection.execute("DETACH DATABASE src")
    finish_database(out)


@contextmanager
def _writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database that nobody else reads yet, without journal."""
    with closing(sqlite3.connect(path.resolve().as_uri(), uri=True)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        yield connection
        connection.commit()


def _refuse_conflicts(connection: sqlite3.Connection, source: Path) -> None:
    checks = {
        "a name": "SELECT a.image_id FROM images a JOIN src.images b"
        " ON a.image_id = b.image_id WHERE a.name != b.name",
        "an id": "SELECT a.image_id FROM images a JOIN src.images b"
        " ON a.name = b.name WHERE a.image_id != b.image_id",
        "a number of keypoints": "SELECT a.image_id FROM keypoints a JOIN src.keypoints b"
        " ON a.image_id = b.image_id WHERE a.rows != b.rows",
        "a camera size or model": "SELECT a.camera_id FROM cameras a JOIN src.cameras b"
        " ON a.camera_id = b.camera_id"
        " WHERE a.model != b.model OR a.width != b.width OR a.height != b.height",
    }
    for what, query in checks.items():
        bad = [row[0] for row in connection.execute(query)]
        if bad:
            raise FeatureError(
                f"{len(bad)} rows of {source.name} have {what} that differs from an earlier"
                f" database's (ids {bad[:3]})",
                expected="one global id space and one set of features a photo",
                fix="Materialize box_features and the matches of both boxes again.",
            )


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [str(row[1]) for row in connection.execute(f"PRAGMA main.table_info({table})")]


def _copy_images(connection: sqlite3.Connection, *, keep_descriptors: bool, cut: bool) -> None:
    tables = [*_SHARED_TABLES, "keypoints", *(["descriptors"] if keep_descriptors else [])]
    for table in tables:
        names = ", ".join(_columns(connection, table))
        where = f" WHERE {_SELECTED_ROWS[table]}" if cut else ""
        connection.execute(
            f"INSERT OR IGNORE INTO main.{table} ({names}) SELECT {names} FROM src.{table}{where}"  # noqa: S608 - table names are ours
        )
    names = ", ".join(_columns(connection, "pose_priors"))
    values = names.replace("pose_prior_id", "corr_data_id")  # never two priors under one id
    where = f" WHERE {_SELECTED_ROWS['pose_priors']}" if cut else ""
    connection.execute(
        f"INSERT OR IGNORE INTO main.pose_priors ({names})"  # noqa: S608 - column names are COLMAP's
        f" SELECT {values} FROM src.pose_priors{where}"
    )


def _copy_pairs(connection: sqlite3.Connection, *, cut: bool) -> None:
    for table in _PAIR_TABLES:
        names = ", ".join(_columns(connection, table))
        copy = f"INSERT OR IGNORE INTO main.{table} ({names}) SELECT {names} FROM src.{table}"  # noqa: S608 - table names are ours
        if not cut:
            connection.execute(copy)
            continue
        where = f" WHERE pair_id BETWEEN ? AND ? AND pair_id % {MAX_IMAGE_ID} IN sel"
        selected = [int(row[0]) for row in connection.execute("SELECT id FROM sel")]
        for image_id in selected:  # pair_id is the row id: one range holds all pairs of an image
            first = image_id * MAX_IMAGE_ID
            connection.execute(copy + where, (first, first + MAX_IMAGE_ID - 1))


def remove_pairs(path: Path, pairs: Collection[tuple[int, int]]) -> None:
    """Delete the matches and two-view geometries of image pairs.

    Args:
        path: A database that nobody else has open.
        pairs: Pairs of colmap ids, in any order; absent pairs are no error.
    """
    keys = [(pair_id_of(*pair),) for pair in pairs]
    with closing(sqlite3.connect(path)) as connection:
        for table in _PAIR_TABLES:
            connection.executemany(f"DELETE FROM {table} WHERE pair_id = ?", keys)  # noqa: S608
        connection.commit()


def strip_database(path: Path, *, descriptors: bool = True, raw_matches: bool = True) -> None:
    """Drop what mapping does not read; call `finish_database` after it to give the space back."""
    tables = ["descriptors"] * descriptors + ["matches"] * raw_matches
    with closing(sqlite3.connect(path)) as connection:
        for table in tables:
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - table names are ours
        connection.commit()


def finish_database(path: Path) -> None:
    """Make one plain file of a database: log checkpointed, no WAL files, compact.

    A copy of a COLMAP database that is still in WAL mode can lose its last writes.
    """
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")


def read_pair_counts(path: Path) -> pd.DataFrame:
    """Read how well each image pair of a database matched.

    Returns:
        Columns colmap_id_a < colmap_id_b, n_matches, n_inliers (0 where absent) and config
        (COLMAP's two-view geometry class, -1 where absent), sorted by the two ids.
    """
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        matches = dict(connection.execute("SELECT pair_id, rows FROM matches"))
        verified = {
            row[0]: (row[1], row[2])
            for row in connection.execute("SELECT pair_id, rows, config FROM two_view_geometries")
        }
    rows = [
        (*divmod(key, MAX_IMAGE_ID), matches.get(key, 0), *verified.get(key, (0, -1)))
        for key in sorted(matches.keys() | verified.keys())
    ]
    names = ["colmap_id_a", "colmap_id_b", "n_matches", "n_inliers", "config"]
    return pd.DataFrame(np.array(rows, dtype=np.int64).reshape(-1, 5), columns=names)


def copy_database(source: Path, out: Path) -> None:
    """Copy a database, unfinished or not, into one plain file; the source stays as it is.

    Args:
        source: A database, also one in WAL mode.
        out: The file to make; it must not exist.
    """
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(out),))
    finish_database(out)
