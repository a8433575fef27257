"""Descriptors of learned features: one byte a value, in a table of their own beside COLMAP's.

COLMAP's table of descriptors holds one row an image and is read by its SIFT matcher. Learned
descriptors have other sizes and matchers; their table is ignored by COLMAP, merges by the same
global ids and never goes into a database for mapping. The keypoints of both kinds stand in one
list: SIFT's first, the learned ones from row ``first`` on.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

TABLE: Final = "learned_descriptors"
"""Name of the table in a feature database."""

_CREATE: Final = (
    f"CREATE TABLE IF NOT EXISTS main.{TABLE} (image_id INTEGER PRIMARY KEY NOT NULL,"
    " kind TEXT NOT NULL, first INTEGER NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL,"
    " data BLOB NOT NULL)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedFeatures:
    """Learned features of one image.

    Attributes:
        keypoints_px: COLMAP's pixels of the photo (centre of the first pixel at 0.5), (N, 2).
        descriptors: Rows of unit length, shape (N, D).
        first: Row of the image's keypoints at which these begin.
    """

    keypoints_px: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    first: int


def pack_descriptors(values: NDArray[np.float32]) -> NDArray[np.int8]:
    """Store descriptors in one byte a value; each row is scaled to use the whole range.

    Args:
        values: Rows of unit length, shape (N, D).

    Returns:
        Shape (N, D). The scale is not kept: a row's length is known to be 1.
    """
    peak = np.abs(values).max(axis=1, keepdims=True, initial=1e-12)
    return np.asarray(np.rint(values * (127.0 / peak)), dtype=np.int8)


def unpack_descriptors(packed: NDArray[np.int8]) -> NDArray[np.float32]:
    """Give back rows of unit length; for XFeat within 0.3 degrees of what was packed."""
    values = packed.astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(length, 1e-6), dtype=np.float32)


def create_table(connection: sqlite3.Connection) -> None:
    """Add the table to the main database of a connection, unless it is there."""
    connection.execute(_CREATE)


def has_table(connection: sqlite3.Connection, schema: str = "main") -> bool:
    """Say whether a database has learned descriptors at all."""
    query = f"SELECT 1 FROM {schema}.sqlite_master WHERE name = ?"  # noqa: S608 - own names
    return connection.execute(query, (TABLE,)).fetchone() is not None


def append_features(
    connection: sqlite3.Connection,
    image_id: int,
    kind: str,
    keypoints_px: NDArray[np.float32],
    descriptors: NDArray[np.float32],
) -> None:
    """Put learned features of an image behind the keypoints that it has; commits nothing.

    Args:
        connection: A feature database with the table.
        image_id: Colmap id.
        kind: Name of the features, as ``xfeat``.
        keypoints_px: COLMAP's pixels, shape (N, 2).
        descriptors: Rows of unit length, shape (N, D).
    """
    query = "SELECT rows, cols, data FROM keypoints WHERE image_id = ?"
    row = connection.execute(query, (image_id,)).fetchone()
    rows, columns, data = row or (0, 2, b"")
    before = np.frombuffer(data or b"", dtype=np.float32).reshape(rows, columns)[:, :2]
    both = np.ascontiguousarray(np.vstack([before, keypoints_px]), dtype=np.float32)
    connection.execute(
        "INSERT OR REPLACE INTO keypoints (image_id, rows, cols, data) VALUES (?, ?, 2, ?)",
        (image_id, len(both), both.tobytes()),
    )
    # Readers expect a row of COLMAP's own kind for every image: none found is not "not looked".
    connection.execute(
        "INSERT OR IGNORE INTO descriptors (image_id, type, rows, cols, data)"
        " VALUES (?, 0, 0, 128, ?)",
        (image_id, b""),
    )
    packed = pack_descriptors(descriptors)
    connection.execute(
        f"INSERT INTO {TABLE} VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 - own name
        (image_id, kind, rows, *packed.shape, packed.tobytes()),
    )


def read_features(connection: sqlite3.Connection, image_id: int) -> LearnedFeatures | None:
    """Read the learned features of an image; None if it has none of its own."""
    query = f"SELECT first, rows, cols, data FROM {TABLE} WHERE image_id = ?"  # noqa: S608
    row = connection.execute(query, (image_id,)).fetchone()
    if row is None:
        return None
    first, rows, columns, data = row
    query = "SELECT rows, cols, data FROM keypoints WHERE image_id = ?"
    n_points, width, points = connection.execute(query, (image_id,)).fetchone()
    keypoints = np.frombuffer(points or b"", dtype=np.float32).reshape(n_points, width)
    packed = np.frombuffer(data, dtype=np.int8).reshape(rows, columns)
    return LearnedFeatures(
        keypoints_px=np.ascontiguousarray(keypoints[first : first + rows, :2]),
        descriptors=unpack_descriptors(packed),
        first=first,
    )
