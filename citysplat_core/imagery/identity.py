"""The 31-bit numbers that stand for images in COLMAP databases, issued once per city."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from citysplat_core.errors import StorageError
from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file, transaction

_MAX_COLMAP_ID = 2**31 - 2  # COLMAP's pair ids reserve the number above
_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (
    colmap_id INTEGER PRIMARY KEY AUTOINCREMENT,
    image_id TEXT NOT NULL UNIQUE
)
"""
_CHUNK = 500  # SQLite's default limit of variables is 999 in old builds
_ROWS_AT_ONCE = 50_000


class IdentityRegistry:
    """Gives each image id one number for ever.

    Numbers start at 1, are never reused and never change, also when an image disappears and comes
    back. Several processes may share one file: a batch is issued in one exclusive transaction.

    Args:
        path: The SQLite file; made when missing.
    """

    def __init__(self, path: Path) -> None:
        """Open the registry."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            create_tables(connection, _SCHEMA)

    def issue(self, image_ids: Sequence[str]) -> dict[str, int]:
        """Return the number of every image, giving new ones to those that have none.

        Args:
            image_ids: Image ids; repeated ones are allowed.

        Returns:
            image_id to colmap_id. New numbers go to new ids in sorted order, so the same calls
            in the same order give the same numbers.

        Raises:
            StorageError: The 31-bit numbers are used up, or the file is no registry.
        """
        wanted = sorted(set(image_ids))
        return dict(zip(wanted, self._issued([wanted]).tolist(), strict=True))

    def issue_column(self, image_ids: pa.ChunkedArray) -> pa.Array:
        """Return the number of every image, as ``issue`` does, for a column of a large table.

        Args:
            image_ids: Texts in ascending order, shape (N,).

        Returns:
            int32, shape (N,).

        Raises:
            StorageError: As ``issue``.
        """
        starts = range(0, len(image_ids), _ROWS_AT_ONCE)
        parts = (image_ids.slice(start, _ROWS_AT_ONCE).to_pylist() for start in starts)
        return pa.array(self._issued(parts))

    def _issued(self, parts: Iterable[list[str]]) -> NDArray[np.int32]:
        """Give the numbers of ids in ascending parts; all are issued, or none."""
        numbers = [np.empty(0, np.int32)]
        with self._connection() as connection, transaction(connection):
            for ids in parts:
                known = _known(connection, ids)
                new = [(image_id,) for image_id in ids if image_id not in known]
                if new:
                    connection.executemany("INSERT INTO identity (image_id) VALUES (?)", new)
                    known = _known(connection, ids)
                if known and max(known.values()) > _MAX_COLMAP_ID:
                    raise StorageError(
                        f"{self._path} has issued all {_MAX_COLMAP_ID} numbers",
                        expected="fewer images in one city",
                        fix="Split the city into several city files.",
                    )
                numbers.append(np.array([known[image_id] for image_id in ids], np.int32))
        return np.concatenate(numbers)

    def adopt(self, numbers: Mapping[str, int]) -> int:
        """Take over numbers that were issued elsewhere, as those of a restored catalog.

        Args:
            numbers: image_id to colmap_id. Later numbers go on above the highest of them.

        Returns:
            How many were new here.

        Raises:
            StorageError: An image has another number here, or a number another image.
        """
        with self._connection() as connection, transaction(connection):
            known = _known(connection, sorted(numbers))
            new = {k: v for k, v in numbers.items() if known.get(k) != v}
            try:
                connection.executemany(
                    "INSERT INTO identity (image_id, colmap_id) VALUES (?, ?)", sorted(new.items())
                )
            except sqlite3.IntegrityError as error:
                raise StorageError(
                    f"{self._path} has issued other numbers than the catalog to adopt ({error})",
                    expected="the numbers of one city",
                    fix="Restore into a new folder: two histories of a city cannot be joined.",
                ) from error
        return len(new)

    def lookup(self, image_ids: Sequence[str]) -> dict[str, int]:
        """Return the numbers of those images that have one; issues nothing."""
        with self._connection() as connection:
            return _known(connection, sorted(set(image_ids)))

    def __len__(self) -> int:
        """Return how many numbers are issued."""
        with self._connection() as connection:
            return int(connection.execute("SELECT count(*) FROM identity").fetchone()[0])

    def _connection(self) -> AbstractContextManager[sqlite3.Connection]:
        fix = "Restore it from a backup: without it images would get other numbers."
        return sqlite_file(self._path, purpose="as identity registry", fix=fix)


def _known(connection: sqlite3.Connection, image_ids: Sequence[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for start in range(0, len(image_ids), _CHUNK):
        part = image_ids[start : start + _CHUNK]
        marks = ",".join("?" * len(part))
        query = f"SELECT image_id, colmap_id FROM identity WHERE image_id IN ({marks})"  # noqa: S608
        numbers.update(connection.execute(query, part))
    return numbers
