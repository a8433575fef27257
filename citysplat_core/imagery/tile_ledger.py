"""The durable record of every tile and of the images that it had: what coverage is proved from.

One SQLite file a city. A tile's state, hash and counts are a row; its images are one Arrow table
(IPC, zstd) beside it, because a city has a million of them and they are always read by tile.
Deletion is concluded only from a tile that was read in full: a tile that failed, or was not asked,
keeps its last answer with its date.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import shapely

from citysplat_core.errors import DiscoveryError
from citysplat_core.geography import Area
from citysplat_core.imagery.source import Discovery
from citysplat_core.imagery.sqlite_file import create_tables, sqlite_file, transaction
from citysplat_core.imagery.tables import GONE_SCHEMA, TILES_SCHEMA, table_of, utc_from_ms
from citysplat_core.imagery.tile_merge import by_tile, gone_images, live_images
from citysplat_core.imagery.tile_rows import Answer, TileAddress, TileRow, merged_row, unread_row

Clock = Callable[[], float]

_TILES = """
CREATE TABLE IF NOT EXISTS tiles (
    source TEXT NOT NULL, z INTEGER NOT NULL, x INTEGER NOT NULL, y INTEGER NOT NULL,
    state TEXT NOT NULL, n_images INTEGER, sha256 TEXT, fetched_at REAL,
    tries INTEGER NOT NULL, reason TEXT, look INTEGER NOT NULL, area TEXT NOT NULL,
    n_new INTEGER, n_gone INTEGER, n_unchanged INTEGER,
    PRIMARY KEY (source, z, x, y)
)
"""
_IMAGES = """
CREATE TABLE IF NOT EXISTS tile_images (
    source TEXT NOT NULL, z INTEGER NOT NULL, x INTEGER NOT NULL, y INTEGER NOT NULL,
    images BLOB NOT NULL, PRIMARY KEY (source, z, x, y)
)
"""
_LOOKS = """
CREATE TABLE IF NOT EXISTS looks (
    look INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, is_refetch INTEGER NOT NULL,
    started_at REAL NOT NULL, ended_at REAL
)
"""
_COLUMNS = ", ".join(TileRow.__slots__)
_LONGEST_REFETCH_S = 3 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One pass over the area's tiles, which may take several runs.

    Attributes:
        number: Its number in the ledger.
        is_refetch: Whether every tile is asked again, or only those without an answer.
        started_at: Seconds since 1970; answers that came later belong to this look.
    """

    number: int
    is_refetch: bool
    started_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The ledger of an area at one moment.

    Attributes:
        tiles: ``TILES_SCHEMA``, sorted by address.
        found: ``GONE_SCHEMA`` of live images, each id once, sorted by id.
        gone: ``GONE_SCHEMA`` of tombstones, sorted by id.
    """

    tiles: pa.Table
    found: pa.Table
    gone: pa.Table


class TileLedger:
    """The tiles of one source in a city's ledger.

    Args:
        path: The SQLite file (``imagery.sqlite``); made when missing.
        source: Name of the source; each has its own tiles.
        clock: The time in seconds since 1970; tests pass their own.
    """

    def __init__(self, path: Path, source: str, *, clock: Clock = time.time) -> None:
        """Open the ledger."""
        self._path, self._source, self._clock = path, source, clock
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            create_tables(connection, _TILES, _IMAGES, _LOOKS)

    def begin_look(self, *, is_refetch: bool) -> Look:
        """Go on with the look that was not finished, or begin one.

        A re-fetch goes on with an unfinished one of the last three days, so that a killed run asks
        no tile twice; a run without re-fetch goes on with whatever is unfinished.
        """
        query = (
            "SELECT look, is_refetch, started_at FROM looks "
            "WHERE source=? AND ended_at IS NULL ORDER BY look DESC LIMIT 1"
        )
        now = self._clock()
        with self._transaction() as connection:
            row = connection.execute(query, (self._source,)).fetchone()
            if row is not None:
                number, was_refetch, started_at = row
                is_young = bool(was_refetch) and now - started_at < _LONGEST_REFETCH_S
                if is_young or not is_refetch:
                    # A clock that was ahead must not make old answers look new.
                    return Look(
                        number=number,
                        is_refetch=bool(was_refetch),
                        started_at=min(started_at, now),
                    )
            connection.execute(
                "UPDATE looks SET ended_at=? WHERE source=? AND ended_at IS NULL",
                (now, self._source),
            )
            cursor = connection.execute(
                "INSERT INTO looks (source, is_refetch, started_at) VALUES (?,?,?)",
                (self._source, int(is_refetch), now),
            )
            return Look(number=int(cursor.lastrowid or 0), is_refetch=is_refetch, started_at=now)

    def end_look(self, look: Look) -> None:
        """Close a look: the next run begins another."""
        ended = (self._clock(), look.number)
        with self._transaction() as connection:
            connection.execute("UPDATE looks SET ended_at=? WHERE look=?", ended)

    def record(self, discovery: Discovery, *, area: Area, look: Look) -> None:
        """Enter what a source said, whole or not at all.

        Args:
            discovery: The source's answer.
            area: What it was asked for.
            look: The look it belongs to. A source that gives no time of its own answers now.

        Raises:
            DiscoveryError: An image names a tile that the source does not list.
            StorageError: The disk is full.
        """
        images, now = by_tile(discovery.found), self._clock()
        area_name = hashlib.sha256(shapely.to_wkb(area.polygon)).hexdigest()[:16]
        with self._transaction() as connection:
            known = {row.address: row for row in self._rows(connection)}
            for said in discovery.tiles.to_pylist():
                address = (said["z"], said["x"], said["y"])
                seen = images.pop("/".join(map(str, address)), discovery.found.slice(0, 0))
                answer = Answer.of(said, seen, area, area_name, look.number, look.started_at, now)
                before = known.get(address)
                if not answer.is_read:
                    row = unread_row(before, answer)
                elif before is not None and answer.is_known(before):
                    row = answer.unchanged(before)
                else:
                    old = self._images(connection, address)
                    row, table = merged_row(before, old, answer)
                    self._write_images(connection, address, table)
                self._write_row(connection, row)
        if images:
            raise DiscoveryError(
                f"source {self._source!r} gave images in tiles that it did not list "
                f"({', '.join(sorted(images)[:3])})",
                expected="every image in one of the area's tiles",
                fix="This is a defect of the source: please report it.",
            )

    def tiles(self, area: Area) -> pa.Table:
        """Give the tiles of an area, ``TILES_SCHEMA``, sorted by address; reads no images."""
        wanted = set(area.tiles())
        with self._open() as connection:
            rows = [row for row in self._rows(connection) if row.address in wanted]
        return table_of([_told(row) for row in rows], TILES_SCHEMA)

    def snapshot(self, area: Area) -> Snapshot:
        """Give tiles, live images and tombstones of an area."""
        wanted = set(area.tiles())
        with self._open() as connection:
            rows = [row for row in self._rows(connection) if row.address in wanted]
            tables = [self._images(connection, row.address) for row in rows]
        images = pa.concat_tables([GONE_SCHEMA.empty_table(), *tables])
        live = live_images(images, area)
        tiles = table_of([_told(row) for row in rows], TILES_SCHEMA)
        return Snapshot(tiles=tiles, found=live, gone=gone_images(images, live, area))

    def is_empty(self) -> bool:
        """Say whether nothing of this source was ever recorded."""
        with self._open() as connection:
            return not self._rows(connection)

    def restore(self, tiles: pa.Table, images: pa.Table) -> None:
        """Take over a snapshot, as of a restored city; only into an empty ledger.

        Args:
            tiles: ``TILES_SCHEMA``.
            images: ``GONE_SCHEMA``, live images and tombstones.
        """
        split, now = by_tile(images), self._clock()
        with self._transaction() as connection:
            for said in tiles.to_pylist():
                row = TileRow.restored(said, now)
                self._write_row(connection, row)
                table = split.get("/".join(map(str, row.address)))
                if table is not None:
                    self._write_images(connection, row.address, table.cast(GONE_SCHEMA))

    def _rows(self, connection: sqlite3.Connection) -> list[TileRow]:
        query = f"SELECT {_COLUMNS} FROM tiles WHERE source=? ORDER BY z, x, y"  # noqa: S608
        return [TileRow(*values) for values in connection.execute(query, (self._source,))]

    def _write_row(self, connection: sqlite3.Connection, row: TileRow) -> None:
        marks = ",".join("?" * (len(TileRow.__slots__) + 1))
        connection.execute(
            f"INSERT OR REPLACE INTO tiles (source, {_COLUMNS}) VALUES ({marks})",  # noqa: S608
            (self._source, *row.values()),
        )

    def _images(self, connection: sqlite3.Connection, address: TileAddress) -> pa.Table:
        query = "SELECT images FROM tile_images WHERE source=? AND z=? AND x=? AND y=?"
        found = connection.execute(query, (self._source, *address)).fetchone()
        if found is None:
            return GONE_SCHEMA.empty_table()
        table = pa.ipc.open_file(pa.py_buffer(found[0])).read_all()
        for field in GONE_SCHEMA:  # written before the column was
            if field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        return table.select(GONE_SCHEMA.names).cast(GONE_SCHEMA)

    def _write_images(
        self, connection: sqlite3.Connection, address: TileAddress, images: pa.Table
    ) -> None:
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(sink, GONE_SCHEMA, options=options) as writer:
            writer.write_table(images.combine_chunks())
        connection.execute(
            "INSERT OR REPLACE INTO tile_images VALUES (?,?,?,?,?)",
            (self._source, *address, sink.getvalue().to_pybytes()),
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection, transaction(connection):
            yield connection

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        fix = (
            "Free some space; if it is damaged, delete it: the last artifact is taken over, and "
            "tiles since then are read again."
        )
        with sqlite_file(self._path, purpose="as tile ledger", fix=fix) as connection:
            yield connection


def _told(row: TileRow) -> dict[str, object]:
    told = {name: getattr(row, name) for name in TILES_SCHEMA.names}
    fetched_at = row.fetched_at
    told["fetched_at"] = None if fetched_at is None else utc_from_ms(int(fetched_at * 1000))
    return told
