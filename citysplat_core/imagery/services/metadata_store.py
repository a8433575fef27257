"""The metadata ledger: what the service said about each image, and what it did not."""

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import orjson

from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file, transaction

State = Literal["known", "absent", "gone", "failed"]
_SCHEMA = """
CREATE TABLE IF NOT EXISTS images (
    image_id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, body BLOB, asked_at REAL NOT NULL,
    tries INTEGER NOT NULL, error_class TEXT, error TEXT, next_try REAL NOT NULL
)
"""
_OPEN = "CREATE INDEX IF NOT EXISTS images_open ON images (state) WHERE state <> 'known'"
_CHUNK = 5000
_NO_BODIES: Mapping[str, bytes] = {}
_LOCKED_TRIES = 600
_PAGES_BETWEEN_CHECKPOINTS = 10_000
"""40 MB, ten times the usual: no page of the index is copied again for each batch."""


class Record(NamedTuple):  # a city has a million of them: a dataclass would cost twice the time
    """What the ledger holds of an image.

    Attributes:
        state: ``known``; ``absent`` (missing from this run's answers, not yet believed); ``gone``
            (a tombstone); ``failed`` (asked in vain, will be asked again).
        body: The service's answer as JSON; of a failed image an older one, if there is any.
        tries: Runs that asked in vain since the last answer.
        error: The service's own words of the last of them.
        next_try: Not asked again before this, seconds since 1970.
    """

    state: State
    body: bytes | None = None
    tries: int = 0
    error: str = ""
    next_try: float = 0.0

    @property
    def entity(self) -> dict[str, Any] | None:
        """The service's answer, parsed each time it is asked for."""
        return None if self.body is None else dict(orjson.loads(self.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """Which entries count as answers, all in seconds since 1970.

    Attributes:
        known_after: Descriptions from before are asked for again.
        gone_after: Tombstones from before are asked for again.
        started_at: When this run began, the same before and after a kill.
        now: Failed images whose rest ends before are asked for again.
    """

    known_after: float
    gone_after: float
    started_at: float
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """What is left to ask, and what this run knew before a kill.

    Attributes:
        missing: Ids to ask for, in the order given.
        n_asked: Images that this run has an answer for already.
        n_absent: Those of them that were absent.
    """

    missing: list[str]
    n_asked: int
    n_absent: int


class MetadataStore:
    """Descriptions, tombstones and failures by image id; use it in ``with``.

    A killed process loses nothing that was saved: each batch is one transaction in a write-ahead
    log.

    Args:
        path: The SQLite file; made when missing. It is a cache and may be deleted.
    """

    def __init__(self, path: Path) -> None:
        """Remember the place; the file is opened by ``with``."""
        self._path = path
        self._stack = ExitStack()
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            StorageError: It is damaged, or the disk is full; so do all methods and the end.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fix = "Free some space; if it is damaged, delete it: it is only a cache."
        opened = sqlite_file(self._path, purpose="to keep metadata", fix=fix)
        with ExitStack() as stack:
            self._connection = stack.enter_context(opened)
            _use_wal(self._connection)
            create_tables(self._connection, _SCHEMA, _OPEN)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        """Close the file; a fault of SQLite becomes an error that says what to do."""
        self._connection = None
        return self._stack.__exit__(kind, error, trace)

    def save(
        self,
        entities: Mapping[str, dict[str, Any]],
        *,
        at: float,
        bodies: Mapping[str, bytes] = _NO_BODIES,
    ) -> None:
        """Keep descriptions, in one transaction.

        Args:
            entities: Asked-for image id to the service's answer.
            at: When it came, seconds since 1970.
            bodies: Answers as the service wrote them, one line each, which saves writing them anew.
        """
        rows = [(i, bodies.get(i) or orjson.dumps(entities[i]), at) for i in sorted(entities)]
        self._write("INSERT OR REPLACE INTO images VALUES (?,'known',?,?,0,NULL,NULL,0)", rows)

    def save_absent(self, ids: Sequence[str], *, at: float) -> None:
        """Keep that images were missing from the answers; they are not gone yet."""
        rows = [(i, at) for i in sorted(ids)]
        self._write(
            "INSERT INTO images VALUES (?,'absent',NULL,?,0,'gone',NULL,0) "
            "ON CONFLICT (image_id) DO UPDATE SET state='absent', asked_at=excluded.asked_at, "
            "error_class='gone'",
            rows,
        )

    def save_failed(
        self, reasons: Mapping[str, str], *, at: float, next_try: Mapping[str, float]
    ) -> None:
        """Keep failures: one more try, the last error, and when the next try may be.

        Args:
            reasons: Image id to the service's own words.
            at: When, seconds since 1970.
            next_try: Image id to the time of the next try, seconds since 1970.
        """
        rows = [(i, at, reasons[i], next_try[i]) for i in sorted(reasons)]
        self._write(
            "INSERT INTO images VALUES (?,'failed',NULL,?,1,'retry',?,?) "
            "ON CONFLICT (image_id) DO UPDATE SET state='failed', asked_at=excluded.asked_at, "
            "tries=tries+1, error_class='retry', error=excluded.error, next_try=excluded.next_try",
            rows,
        )

    def believe_absent(self) -> None:
        """Turn the absent images into tombstones: what was known of them is forgotten."""
        self._write("UPDATE images SET state='gone', body=NULL WHERE state='absent'", [()])

    def doubt(self) -> None:
        """Forget that images were absent or failed lately: the service was down."""
        self._write("DELETE FROM images WHERE state='absent' AND body IS NULL", [()])
        self._write("UPDATE images SET state='known', error_class=NULL WHERE state='absent'", [()])
        self._write("UPDATE images SET next_try=0 WHERE state='failed'", [()])

    def tries(self, ids: Sequence[str]) -> dict[str, int]:
        """Return in how many runs images were asked in vain; 0 for those that never were."""
        found = dict.fromkeys(ids, 0)
        for part in _parts(ids):
            query = f"SELECT image_id, tries FROM images WHERE image_id IN ({_marks(part)})"  # noqa: S608
            found.update(self._query(query, part))
        return found

    def open_of(self, image_ids: Sequence[str], fresh: Freshness) -> Open:
        """Return which images are left to ask, and how this run fared before it was killed."""
        missing, n_asked, n_absent = [], 0, 0
        for part in _parts(image_ids):
            answered = set()
            query = (
                "SELECT image_id, state, asked_at, next_try FROM images "  # noqa: S608
                f"WHERE image_id IN ({_marks(part)})"
            )
            for image_id, state, asked_at, next_try in self._query(query, part):
                if asked_at >= fresh.started_at and state in {"known", "absent"}:
                    n_asked += 1
                    n_absent += state == "absent"
                if _is_answered(state, asked_at, next_try, fresh):
                    answered.add(image_id)
            missing += [image_id for image_id in part if image_id not in answered]
        return Open(missing=missing, n_asked=n_asked, n_absent=n_absent)

    def read(self, image_ids: Sequence[str]) -> dict[str, Record]:
        """Return what is recorded; ids that were never asked for are left out."""
        found: dict[str, Record] = {}
        for part in _parts(image_ids):
            query = (
                "SELECT image_id, state, body, tries, error, next_try FROM images "  # noqa: S608
                f"WHERE image_id IN ({_marks(part)})"
            )
            for image_id, state, body, tries, error, next_try in self._query(query, part):
                found[image_id] = Record(state, body, tries, error or "", next_try)
        return found

    def counts(self) -> dict[str, int]:
        """Return how many images are in each state."""
        query = "SELECT state, count(*) FROM images GROUP BY state"
        return {str(state): int(count) for state, count in self._query(query, [])}

    def _query(self, query: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        yield from self._opened().execute(query, values)

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        connection = self._opened()
        with transaction(connection):
            connection.executemany(statement, rows)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise RuntimeError("the metadata ledger is used outside `with`")
        return self._connection


def _is_answered(state: str, asked_at: float, next_try: float, fresh: Freshness) -> bool:
    if state == "known":
        return asked_at >= fresh.known_after
    if state == "failed":
        return next_try > fresh.now
    return asked_at >= (fresh.started_at if state == "absent" else fresh.gone_after)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; where others are writing, SQLite refuses without waiting."""
    for last in range(_LOCKED_TRIES):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or last == _LOCKED_TRIES - 1:
                raise
            time.sleep(0.1)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint={_PAGES_BETWEEN_CHECKPOINTS}")


def _parts(image_ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(image_ids), _CHUNK):
        yield list(image_ids[start : start + _CHUNK])


def _marks(values: Sequence[str]) -> str:
    return ",".join("?" * len(values))
