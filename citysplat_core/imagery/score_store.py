"""Scores of photos, kept by the photos' content: no rule and no threshold makes them again."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from types import TracebackType
from typing import Self

from citysplat_core.imagery.quality import SCORER_VERSION, Quality, score_photo
from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file, transaction

_FIELDS = tuple(field.name for field in fields(Quality))
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS scores (
    sha256 TEXT NOT NULL, version INTEGER NOT NULL, {", ".join(_FIELDS)},
    PRIMARY KEY (sha256, version)
) WITHOUT ROWID
"""
_ROWS_AT_ONCE = 64
_KEYS_AT_ONCE = 500

Scorer = Callable[[bytes], Quality]


class ScoreStore:
    """Scores by SHA-256 of a photo and version of the scorer; safe for processes and threads.

    Use it in ``with``: what was scored last is written when the block ends. A kill loses at most
    the last few scores, which are made again from the photos.

    Args:
        path: The SQLite file; made when missing.
        scorer: Scores a body; refuses damaged ones with ImageError. None: ``score_photo``.
        version: Of the scorer; scores of other versions do not count.
    """

    def __init__(
        self, path: Path, *, scorer: Scorer | None = None, version: int = SCORER_VERSION
    ) -> None:
        """Open the store."""
        self._path, self._scorer, self._version = path, scorer or score_photo, version
        self._lock = threading.Lock()
        self._known: dict[str, Quality] = {}
        self._unwritten: dict[str, Quality] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            create_tables(connection, _SCHEMA)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is not written yet."""
        self._flush()

    def load(self, hashes: list[str]) -> None:
        """Read the scores of many photos at once, so that ``get`` finds them."""
        with self._connection() as connection:
            for start in range(0, len(hashes), _KEYS_AT_ONCE):
                keys = hashes[start : start + _KEYS_AT_ONCE]
                marks = ",".join("?" * len(keys))
                query = (
                    f"SELECT sha256, {', '.join(_FIELDS)} FROM scores "  # noqa: S608 - constants
                    f"WHERE version=? AND sha256 IN ({marks})"
                )
                for row in connection.execute(query, (self._version, *keys)):
                    self._known[row[0]] = Quality(**dict(zip(_FIELDS, row[1:], strict=True)))

    def get(self, sha256: str) -> Quality | None:
        """Return scores that were loaded or made since the store was opened, else None."""
        return self._known.get(sha256)

    def score(self, body: bytes, sha256: str) -> Quality:
        """Return the scores of a photo; it is decoded only if they are not known.

        Raises:
            ImageError: The photo is damaged.
            StorageError: The disk is full.
        """
        known = self._known.get(sha256)
        if known is not None:
            return known
        quality = self._scorer(body)
        with self._lock:
            self._known[sha256] = self._unwritten[sha256] = quality
            is_full = len(self._unwritten) >= _ROWS_AT_ONCE
        if is_full:
            self._flush()
        return quality

    def _flush(self) -> None:
        with self._lock:
            rows = [(key, self._version, *astuple(q)) for key, q in self._unwritten.items()]
            if rows:
                marks = ",".join("?" * (len(_FIELDS) + 2))
                statement = f"INSERT OR REPLACE INTO scores VALUES ({marks})"  # noqa: S608
                with self._connection() as connection, transaction(connection):
                    connection.executemany(statement, rows)
            self._unwritten.clear()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        fix = "Free some space; if it is damaged, delete it and run again: photos stay."
        with sqlite_file(self._path, purpose="to keep scores", fix=fix) as connection:
            connection.execute("PRAGMA synchronous=OFF")  # a lost row costs one decode
            yield connection
