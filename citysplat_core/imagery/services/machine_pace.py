"""A host's pace, held by all processes of a machine together."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from citysplat_core.imagery.services.retries import Clock
from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file, transaction

_SCHEMA = "CREATE TABLE IF NOT EXISTS buckets (host TEXT PRIMARY KEY, next_at REAL NOT NULL)"
_LEASE_S = 0.25
_MOST_LEASED = 200
_LONGEST_S = 3600.0
"""A next request farther away than this was written under another clock."""


class Pacer(Protocol):
    """Says when the next request may go."""

    async def wait(self) -> None:
        """Wait for the next free moment."""
        ...

    def pause(self, seconds: float) -> None:
        """Send nothing for a while."""
        ...


class MachinePace:
    """Evenly spaced requests, shared by the processes that name one file.

    A process takes the tokens of a quarter of a second at a time, so that one small transaction
    serves many requests; what it does not use is lost. A pause holds for all of them.

    Args:
        path: The SQLite file; made when missing.
        host: What the requests are counted under.
        per_min: Requests a minute of all processes together.
        clock: The time; tests pass their own.
    """

    def __init__(self, path: Path, host: str, per_min: int, clock: Clock = time.time) -> None:
        """Open the file; nothing is reserved yet."""
        self._path, self._host, self._clock = path, host, clock
        self._spacing_s = 60.0 / per_min
        self._lease = max(1, min(_MOST_LEASED, int(_LEASE_S / self._spacing_s)))
        self._left, self._next = 0, 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._file() as connection:
            create_tables(connection, _SCHEMA)

    async def wait(self) -> None:
        """Wait for the next free moment.

        Raises:
            StorageError: The file is damaged or the disk is full.
        """
        if self._left == 0:
            self._next = time.monotonic() + self._reserve()
            self._left = self._lease
        at = self._next
        self._left -= 1
        self._next += self._spacing_s
        delay = at - time.monotonic()
        if delay > 0:
            await asyncio.sleep(delay)

    def pause(self, seconds: float) -> None:
        """Let no process send anything for a while; requests on their way are not called back."""
        self._left = 0
        with self._transaction() as connection:
            now = self._clock()
            self._store(connection, max(self._next_at(connection, now), now + seconds))

    def _reserve(self) -> float:
        """Take a lease and return how far away its first moment is, seconds."""
        with self._transaction() as connection:
            now = self._clock()
            at = max(now, self._next_at(connection, now))
            self._store(connection, at + self._lease * self._spacing_s)
        return at - now

    def _next_at(self, connection: sqlite3.Connection, now: float) -> float:
        query = "SELECT next_at FROM buckets WHERE host=?"
        row = connection.execute(query, (self._host,)).fetchone()
        if row is None or row[0] - now > _LONGEST_S:
            return now
        return float(row[0])

    def _store(self, connection: sqlite3.Connection, at: float) -> None:
        connection.execute("INSERT OR REPLACE INTO buckets VALUES (?,?)", (self._host, at))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._file() as connection:
            connection.execute("PRAGMA synchronous=OFF")
            with transaction(connection):
                yield connection

    @contextmanager
    def _file(self) -> Iterator[sqlite3.Connection]:
        fix = "Free some space; if it is damaged, delete it and run again."
        with sqlite_file(self._path, purpose="to pace requests", fix=fix) as connection:
            yield connection
