"""What the graph said about images, kept so that a killed run does not ask again."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import orjson

from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entities (
    image_id TEXT PRIMARY KEY, body BLOB, fetched_at REAL NOT NULL
) WITHOUT ROWID
"""
_CHUNK = 500


class EntityStore:
    """Descriptions by image id; a description without body says that the image is gone.

    Args:
        path: The SQLite file; made when missing. It is a cache and may be deleted.
    """

    def __init__(self, path: Path) -> None:
        """Open the store."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            create_tables(connection, _SCHEMA)

    def save(
        self, entities: dict[str, dict[str, Any]], gone: Sequence[str], *, fetched_at: float
    ) -> None:
        """Keep descriptions and tombstones in one transaction.

        Args:
            entities: Asked-for image id to the graph's answer.
            gone: Ids that the graph does not know any more.
            fetched_at: Seconds since 1970.

        Raises:
            StorageError: The disk is full or the file is damaged.
        """
        rows: list[tuple[str, bytes | None, float]] = [
            (i, orjson.dumps(entities[i]), fetched_at) for i in sorted(entities)
        ]
        rows += [(i, None, fetched_at) for i in sorted(gone)]
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO entities VALUES (?,?,?)", rows)
            connection.execute("COMMIT")

    def missing(self, image_ids: Sequence[str], *, not_before: float) -> list[str]:
        """Return the ids that have no description from ``not_before`` (seconds since 1970) on."""
        known: set[str] = set()
        with self._connection() as connection:
            for part in _parts(image_ids):
                marks = ",".join("?" * len(part))
                query = (
                    "SELECT image_id FROM entities WHERE fetched_at>=? "  # noqa: S608
                    f"AND image_id IN ({marks})"
                )
                known.update(row[0] for row in connection.execute(query, [not_before, *part]))
        return [image_id for image_id in image_ids if image_id not in known]

    def read(self, image_ids: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """Return what is known, None for images that are gone; unknown ids are left out."""
        found: dict[str, dict[str, Any] | None] = {}
        with self._connection() as connection:
            for part in _parts(image_ids):
                marks = ",".join("?" * len(part))
                query = f"SELECT image_id, body FROM entities WHERE image_id IN ({marks})"  # noqa: S608
                for image_id, body in connection.execute(query, part):
                    found[image_id] = None if body is None else orjson.loads(body)
        return found

    def _connection(self) -> AbstractContextManager[sqlite3.Connection]:
        fix = "Free some space; if it is damaged, delete it: it is only a cache."
        return sqlite_file(self._path, purpose="to keep metadata", fix=fix)


def _parts(image_ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(image_ids), _CHUNK):
        yield list(image_ids[start : start + _CHUNK])
