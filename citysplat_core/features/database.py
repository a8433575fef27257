"""COLMAP databases with one global id space: create, strip, finish, count.

Image ids are the catalog's ``colmap_id``, camera ids are those of ``cameras.parquet``,
``rig_id = camera_id`` and ``frame_id = pose_prior_id = image_id``. Since the ids are the same
in every database of a city, databases merge row by row; COLMAP's own merge renumbers and
refuses shared images.
"""

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pycolmap
from numpy.typing import NDArray

from citysplat_core.errors import FeatureError, StorageError
from citysplat_core.features.learned_store import TABLE, has_table

MAX_IMAGE_ID: Final = 2147483647
"""COLMAP's modulus of pair ids; image ids are smaller than this."""

PAIR_TABLES: Final = ("matches", "two_view_geometries")
"""Tables with a row a pair, keyed by its pair id."""


@contextmanager
def connected(path: Path, *, read_only: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a COLMAP database as plain SQLite; commit and close when the block ends well.

    Args:
        path: The database; it must exist if ``read_only``.
        read_only: Refuse writes, also to the files beside it.

    Raises:
        StorageError: It is no database, cannot be read or written, or the disk is full.
    """
    uri = path.resolve().as_uri() + ("?mode=ro" if read_only else "")
    try:
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            yield connection
            connection.commit()
    except sqlite3.DatabaseError as error:
        raise StorageError(
            f"{path} cannot be used: {error}",
            expected="a whole COLMAP database and room on the disk",
            fix="Free space if the disk is full, else delete the folder it is in; run again.",
        ) from error


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


def remove_pairs(path: Path, pairs: Collection[tuple[int, int]]) -> None:
    """Delete the matches and two-view geometries of image pairs.

    Args:
        path: A database that nobody else has open.
        pairs: Pairs of colmap ids, in any order; absent pairs are no error.
    """
    keys = [(pair_id_of(*pair),) for pair in pairs]
    with connected(path) as connection:
        for table in PAIR_TABLES:
            connection.executemany(f"DELETE FROM {table} WHERE pair_id = ?", keys)  # noqa: S608


def strip_database(path: Path) -> None:
    """Drop what mapping does not read: descriptors, raw matches, keypoint scales and angles.

    About nine tenths of the size; call `finish_database` after it to give the space back.
    """
    with connected(path) as connection:
        connection.execute("DELETE FROM descriptors")
        connection.execute("DELETE FROM matches")
        connection.execute(f"DROP TABLE IF EXISTS {TABLE}")
        narrow_keypoints(connection)


def narrow_keypoints(connection: sqlite3.Connection) -> None:
    """Keep x and y of keypoints (8 bytes) and drop their shapes (16 bytes), which nobody reads."""
    wide = "SELECT image_id, rows, cols FROM keypoints WHERE cols > 2 AND rows > 0"
    for image_id, rows, columns in connection.execute(wide).fetchall():
        query = "SELECT data FROM keypoints WHERE image_id = ?"
        data = connection.execute(query, (image_id,)).fetchone()[0]
        values = np.frombuffer(data, dtype=np.float32).reshape(rows, columns)
        pixels = np.ascontiguousarray(values[:, :2]).tobytes()
        update = "UPDATE keypoints SET cols = 2, data = ? WHERE image_id = ?"
        connection.execute(update, (pixels, image_id))


def stored_sizes(path: Path) -> tuple[int, int]:
    """Measure what a feature database spends on keypoints and on descriptors of all kinds.

    Returns:
        Bytes of keypoints and of descriptors.
    """
    sums = {"keypoints": 0, "descriptors": 0, TABLE: 0}
    with connected(path, read_only=True) as connection:
        for table in sums:
            if table != TABLE or has_table(connection):
                query = f"SELECT COALESCE(SUM(LENGTH(data)), 0) FROM {table}"  # noqa: S608 - ours
                sums[table] = int(connection.execute(query).fetchone()[0])
    return sums["keypoints"], sums["descriptors"] + sums[TABLE]


def finish_database(path: Path) -> None:
    """Make one plain file of a database: log checkpointed, no WAL files, compact.

    A copy of a COLMAP database that is still in WAL mode can lose its last writes.
    """
    with connected(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")


def kinds_of(path: Path) -> tuple[str, ...]:
    """Name the kinds of descriptors that a feature database holds: ``sift`` first, if any."""
    with connected(path, read_only=True) as connection:
        found = connection.execute("SELECT 1 FROM descriptors WHERE rows > 0 LIMIT 1").fetchone()
        kinds = ["sift"] if found else []
        if has_table(connection):
            query = f"SELECT DISTINCT kind FROM {TABLE} WHERE rows > 0 ORDER BY kind"  # noqa: S608
            kinds += [str(row[0]) for row in connection.execute(query)]
    return tuple(kinds)


def read_pair_counts(path: Path) -> pd.DataFrame:
    """Read how well each image pair of a database matched.

    Returns:
        Columns colmap_id_a < colmap_id_b, n_matches, n_inliers (0 where absent) and config
        (COLMAP's two-view geometry class, -1 where absent), sorted by the two ids.
    """
    with connected(path, read_only=True) as connection:
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
