"""Dropping the keypoints that lie where a photo's mask says to ignore it."""

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from citysplat_core.features.database import connected
from citysplat_core.features.learned_store import TABLE, has_table
from citysplat_core.imagery.masks import read_mask


def drop_masked_keypoints(database: Path, box_images: Path, images: pd.DataFrame) -> int:
    """Delete keypoints and descriptors in the ignored parts of photos.

    It does not matter which backend wrote them. Doing it twice changes nothing.

    Args:
        database: COLMAP database with features of the photos; nobody else has it open.
        box_images: The artifact ``box_images``, whose masks count.
        images: Rows of its ``images.parquet``: image_id and colmap_id.

    Returns:
        How many keypoints were deleted.

    Raises:
        ImageError: A mask is damaged.
        StorageError: The database is damaged, or the disk is full.
    """
    n_dropped = 0
    with connected(database) as connection:
        for image_id, key in zip(images["image_id"], images["colmap_id"], strict=True):
            used = read_mask(box_images, str(image_id))
            if used is None:
                continue
            keep = _in_use(connection, int(key), used)
            if not keep.all():
                n_dropped += int((~keep).sum())
                _keep_rows(connection, int(key), keep)
    return n_dropped


def _in_use(connection: sqlite3.Connection, key: int, used: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say for each keypoint whether its pixel is used; (0, 0) is the picture's corner."""
    query = "SELECT rows, cols, data FROM keypoints WHERE image_id = ?"
    rows, columns, data = connection.execute(query, (key,)).fetchone()
    values = np.frombuffer(data or b"", dtype=np.float32).reshape(rows, columns)
    height, width = used.shape
    x = np.clip(np.floor(values[:, 0]).astype(np.int64), 0, width - 1)
    y = np.clip(np.floor(values[:, 1]).astype(np.int64), 0, height - 1)
    return np.asarray(used[y, x])


def _keep_rows(connection: sqlite3.Connection, key: int, keep: NDArray[np.bool_]) -> None:
    """Cut the keypoints, and each kind of descriptors by the rows that it speaks of."""
    _cut(connection, "keypoints", key, keep)
    first = len(keep)
    if has_table(connection):
        query = f"SELECT first, rows FROM {TABLE} WHERE image_id = ?"  # noqa: S608 - own name
        found = connection.execute(query, (key,)).fetchone()
        if found is not None:
            first, rows = found
            _cut(connection, TABLE, key, keep[first : first + rows])
            update = f"UPDATE {TABLE} SET first = ? WHERE image_id = ?"  # noqa: S608
            connection.execute(update, (int(keep[:first].sum()), key))
    _cut(connection, "descriptors", key, keep[:first])


def _cut(connection: sqlite3.Connection, table: str, key: int, keep: NDArray[np.bool_]) -> None:
    query = f"SELECT rows, data FROM {table} WHERE image_id = ?"  # noqa: S608 - own names
    rows, data = connection.execute(query, (key,)).fetchone()
    if not rows:
        return
    values = np.frombuffer(data, dtype=np.uint8).reshape(rows, -1)[keep]
    update = f"UPDATE {table} SET rows = ?, data = ? WHERE image_id = ?"  # noqa: S608
    connection.execute(update, (len(values), values.tobytes(), key))
