"""Unite, cut and copy COLMAP databases of one city, by their global ids.

COLMAP's own merge renumbers ids and refuses shared images; its own filter by names reads every
pair first. Here a row is copied with the id it has, and a cut costs what it selects.
"""

import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import pycolmap

from citysplat_core.errors import FeatureError
from citysplat_core.features.database import (
    MAX_IMAGE_ID,
    PAIR_TABLES,
    connected,
    finish_database,
)
from citysplat_core.features.learned_store import TABLE, create_table, has_table

_SHARED_TABLES: Final = ("cameras", "rigs", "rig_sensors", "frames", "frame_data", "images")
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
        FeatureError: ``out`` exists, a source does not, or two sources give one image different
            names, keypoint counts or cameras: they were not made from the same catalog and
            features.
        StorageError: A database is damaged, or the disk is full.
    """
    if out.exists():
        raise FeatureError(
            f"database {out.name} exists already",
            expected="a new file",
            fix="Delete it, or merge into another file.",
        )
    absent = [str(source) for source in sources if not source.is_file()]
    if absent:
        raise FeatureError(
            f"{len(absent)} of {len(sources)} databases do not exist ({absent[0]})",
            expected="the database of every artifact that is merged",
            fix="Materialize the artifact again, or restore it from the backup.",
        )
    pycolmap.Database.open(out).close()  # COLMAP writes its own schema
    with connected(out) as connection:
        connection.execute("PRAGMA journal_mode = OFF")  # nobody else reads it yet
        connection.execute("PRAGMA synchronous = OFF")
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
    if keep_descriptors and has_table(connection, "src"):
        create_table(connection)
        where = " WHERE image_id IN sel" if cut else ""
        connection.execute(f"INSERT OR IGNORE INTO {TABLE} SELECT * FROM src.{TABLE}{where}")  # noqa: S608 - own name
    names = ", ".join(_columns(connection, "pose_priors"))
    values = names.replace("pose_prior_id", "corr_data_id")  # never two priors under one id
    where = f" WHERE {_SELECTED_ROWS['pose_priors']}" if cut else ""
    connection.execute(
        f"INSERT OR IGNORE INTO main.pose_priors ({names})"  # noqa: S608 - column names are COLMAP's
        f" SELECT {values} FROM src.pose_priors{where}"
    )


def _copy_pairs(connection: sqlite3.Connection, *, cut: bool) -> None:
    for table in PAIR_TABLES:
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


def copy_database(source: Path, out: Path) -> None:
    """Copy a database, unfinished or not, into one plain file; the source stays as it is.

    Args:
        source: A database, also one in WAL mode.
        out: The file to make; it must not exist.
    """
    with connected(source) as connection:
        connection.execute("VACUUM INTO ?", (str(out),))
    finish_database(out)
