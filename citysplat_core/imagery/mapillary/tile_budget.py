"""The tile requests of this machine: one count, one pace and one silence for all its processes."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from citysplat_core.errors import BlockedError, BudgetError
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.imagery.services.retries import Clock
from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file, transaction

_DAY_S = 86_400.0
_FARTHEST_TURN_S = 600.0
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS requests (host TEXT NOT NULL, at REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS requests_by_host ON requests (host, at)",
    "CREATE TABLE IF NOT EXISTS blocks (host TEXT PRIMARY KEY, refused_at REAL NOT NULL)",
    "CREATE TABLE IF NOT EXISTS pauses (host TEXT PRIMARY KEY, until REAL NOT NULL)",
)


class TileBudget:
    """Requests to the tile host, counted in a file that all processes of this machine share.

    The host blocks a *machine* that asks too fast or too much over days, whatever its token or
    city, so the count outlives the process and belongs in a folder of the machine. Every
    reservation is one exclusive transaction: two runs together keep the one pace.

    Times in the future were written while the clock was ahead; they count as now.

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
        self._silence_s, self._longest_pause_s = patience.block_silence_s, patience.max_pause_s
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            create_tables(connection, *_SCHEMA)

    def reserve(self) -> float:
        """Count one request and return how long to wait before sending it, seconds.

        Raises:
            BlockedError: The host blocks this machine, or (BudgetError) the day's requests are
                used up; says when to come back.
        """
        self._correct_the_future()
        with self._transaction() as connection:
            now = self._clock()
            self._refuse_if_blocked(connection, now)
            connection.execute("DELETE FROM requests WHERE at < ?", (now - 2 * _DAY_S,))
            query = "SELECT count(*), min(at) FROM requests WHERE host=? AND at>?"
            used, oldest = connection.execute(query, (self._host, now - _DAY_S)).fetchone()
            if used >= self._per_day:
                raise BudgetError(
                    f"{used} tiles of {self._host} were asked for in 24 hours, the most we allow",
                    expected=f"at most {self._per_day} a day, below what gets a machine blocked",
                    fix=f"Run again after {_utc(oldest + _DAY_S)}; finished tiles are kept.",
                )
            last = connection.execute(
                "SELECT max(at) FROM requests WHERE host=?", (self._host,)
            ).fetchone()[0]
            at = now if last is None else max(now, float(last) + self._spacing_s)
            at = max(at, self._require_no_long_pause(connection, now))
            connection.execute("INSERT INTO requests VALUES (?,?)", (self._host, at))
        return at - now

    def still_to_wait(self) -> float:
        """Return the pause that began after a reservation, seconds; usually 0.

        Raises:
            BlockedError: The host has blocked this machine since.
        """
        with self._open() as connection:
            now = self._clock()
            self._refuse_if_blocked(connection, now)
            return max(0.0, self._require_no_long_pause(connection, now) - now)

    def pause(self, seconds: float) -> None:
        """Let no process of this machine ask for a while, as the host told us.

        Raises:
            BlockedError: It is longer than anybody waits; says when to come back.
        """
        with self._transaction() as connection:
            now = self._clock()
            until = max(now + min(seconds, _DAY_S), self._paused_until(connection))
            connection.execute("INSERT OR REPLACE INTO pauses VALUES (?,?)", (self._host, until))
        with self._open() as connection:
            self._require_no_long_pause(connection, now)

    def report_block(self) -> None:
        """Remember that the host refused this machine just now; the silence starts again."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO blocks VALUES (?,?)", (self._host, self._clock())
            )

    def report_success(self, *, sent_at: float) -> None:
        """Remember that the host answers again.

        Args:
            sent_at: When the request was sent; a refusal that came later stands.
        """
        with self._open() as connection:
            row = connection.execute("SELECT 1 FROM blocks WHERE host=?", (self._host,)).fetchone()
        if row is not None:
            with self._transaction() as connection:
                connection.execute(
                    "DELETE FROM blocks WHERE host=? AND refused_at<?", (self._host, sent_at)
                )

    def _correct_the_future(self) -> None:
        """Take times that cannot be true for now: rather too many requests counted than too few."""
        now = self._clock()
        changes = (
            ("requests", "at", now + max(_FARTHEST_TURN_S, 60.0 * self._spacing_s)),
            ("pauses", "until", now + _DAY_S),
            ("blocks", "refused_at", now),
        )
        with self._transaction() as connection:
            for table, column, latest in changes:
                connection.execute(
                    f"UPDATE {table} SET {column}=? WHERE host=? AND {column}>?",  # noqa: S608
                    (now, self._host, latest),
                )

    def _paused_until(self, connection: sqlite3.Connection) -> float:
        query = "SELECT until FROM pauses WHERE host=?"
        row = connection.execute(query, (self._host,)).fetchone()
        return 0.0 if row is None else float(row[0])

    def _require_no_long_pause(self, connection: sqlite3.Connection, now: float) -> float:
        until = self._paused_until(connection)
        if until - now > self._longest_pause_s:
            raise BlockedError(
                f'{self._host} answered "too many requests" and named a time to wait for',
                expected="vector tiles",
                fix=f"Run again after {_utc(until)}; finished tiles are kept.",
            )
        return until

    def _refuse_if_blocked(self, connection: sqlite3.Connection, now: float) -> None:
        query = "SELECT refused_at FROM blocks WHERE host=?"
        row = connection.execute(query, (self._host,)).fetchone()
        if row is not None and now - row[0] < self._silence_s:
            raise blocked_error(self._host, row[0] + self._silence_s)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection, transaction(connection):
            yield connection

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        fix = "Free some space; if it is damaged, delete it a day after the last run."
        with sqlite_file(self._path, purpose="to count requests", fix=fix) as connection:
            yield connection


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
