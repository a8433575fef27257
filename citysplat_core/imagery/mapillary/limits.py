"""Staying below the service's limits, also over several processes and days."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from citysplat_core.errors import BlockedError
from citysplat_core.imagery.mapillary.http import Answer
from citysplat_core.imagery.mapillary.policy import Patience
from citysplat_core.imagery.sqlite_file import sqlite_file

Clock = Callable[[], float]
"""Gives the time in seconds since 1970."""

_DAY_S = 86_400.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (host TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS requests_by_host ON requests (host, at);
CREATE TABLE IF NOT EXISTS blocks (host TEXT PRIMARY KEY, refused_at REAL NOT NULL);
"""


class TileBudget:
    """Requests to the tile host, counted in a file that all processes of this machine share.

    The host blocks a *machine* that asks too fast or too much over days, whatever its token, so
    the count outlives the process. Every reservation is one transaction.

    Args:
        path: The SQLite file; made when missing.
        host: Host and port, the name the requests are counted under.
        per_min: Requests a minute, evenly spaced.
        per_day: Requests in any 24 hours.
        patience: For the silence after a block.
        clock: The time; tests pass their own.
    """

    def __init__(
        self,
        path: Path,
        host: str,
        *,
        per_min: int,
        per_day: int,
        patience: Patience,
        clock: Clock = time.time,
    ) -> None:
        """Open the file."""
        self._path, self._host, self._clock = path, host, clock
        self._spacing_s, self._per_day = 60.0 / per_min, per_day
        self._silence_s = patience.block_silence_s
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as connection:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)

    def reserve(self) -> float:
        """Count one request and return how long to wait before sending it, seconds.

        Raises:
            BlockedError: The host blocks this machine, or the day's requests are used up; says
                when to come back.
        """
        with self._transaction() as connection:
            now = self._clock()
            self._refuse_if_blocked(connection, now)
            connection.execute("DELETE FROM requests WHERE at < ?", (now - 2 * _DAY_S,))
            query = "SELECT count(*), min(at) FROM requests WHERE host=? AND at>?"
            used, oldest = connection.execute(query, (self._host, now - _DAY_S)).fetchone()
            if used >= self._per_day:
                raise BlockedError(
                    f"{used} tiles of {self._host} were asked for in 24 hours, the most we allow",
                    expected=f"at most {self._per_day} a day, below what gets a machine blocked",
                    fix=f"Run again after {_utc(oldest + _DAY_S)}; finished tiles are kept.",
                )
            last = connection.execute(
                "SELECT max(at) FROM requests WHERE host=?", (self._host,)
            ).fetchone()[0]
            at = now if last is None else max(now, float(last) + self._spacing_s)
            connection.execute("INSERT INTO requests VALUES (?,?)", (self._host, at))
        return at - now

    def report_block(self) -> None:
        """Remember that the host refused this machine just now; the silence starts again."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO blocks VALUES (?,?)", (self._host, self._clock())
            )

    def report_success(self) -> None:
        """Remember that the host answers again."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM blocks WHERE host=?", (self._host,))

    def _refuse_if_blocked(self, connection: sqlite3.Connection, now: float) -> None:
        query = "SELECT refused_at FROM blocks WHERE host=?"
        row = connection.execute(query, (self._host,)).fetchone()
        if row is not None and now - row[0] < self._silence_s:
            raise blocked_error(self._host, row[0] + self._silence_s)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        fix = "Free some space; if it is damaged, delete it and run again."
        with sqlite_file(self._path, purpose="to count requests", fix=fix) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")


def blocked_error(host: str, until: float) -> BlockedError:
    """Return the error for a host that blocks this machine; ``until`` is seconds since 1970."""
    return BlockedError(
        f"{host} blocks this machine (it answers with a login page)",
        expected="vector tiles",
        fix=f"Do not ask before {_utc(until)}: each refused request prolongs the block. Then run "
        "again; finished tiles are kept. Another token does not help.",
    )


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


class Pace:
    """Evenly spaced requests inside one process, with pauses for all at once."""

    def __init__(self, per_min: int) -> None:
        """Start without delay."""
        self._spacing_s = 60.0 / per_min
        self._next = 0.0

    async def wait(self) -> None:
        """Wait for the next free moment."""
        now = time.monotonic()
        at = max(now, self._next)
        self._next = at + self._spacing_s
        if at > now:
            await asyncio.sleep(at - now)

    def pause(self, seconds: float) -> None:
        """Send nothing for a while."""
        self._next = max(self._next, time.monotonic() + seconds)


class Retry:
    """Counts the faults and pauses of one request.

    Args:
        patience: How many of each.
        tries: Requests until a fault is final; None for the patience's own number.
    """

    def __init__(self, patience: Patience, *, tries: int | None = None) -> None:
        """Start without a fault."""
        self._patience = patience
        self._tries = patience.tries if tries is None else tries
        self._faults = 0
        self._pauses = 0

    async def after_fault(self) -> bool:
        """Wait and return True, or return False if the tries are used up."""
        self._faults += 1
        if self._faults >= self._tries:
            return False
        await asyncio.sleep(self._patience.wait_s(self._faults - 1))
        return True

    def pause_s(self, answer: Answer | None) -> float | None:
        """Return how long to pause after "limit reached", or None if it has lasted too long."""
        self._pauses += 1
        if self._pauses > self._patience.max_pauses:
            return None
        told = answer.retry_after_s() if answer is not None else None
        wanted = self._patience.limit_pause_s if told is None else told
        return min(wanted, self._patience.max_pause_s)
