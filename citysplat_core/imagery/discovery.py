"""The step that finds every image of the area and proves it tile by tile."""

import logging
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from citysplat_core.errors import BudgetError, DiscoveryError, StorageError
from citysplat_core.geography import Area
from citysplat_core.imagery.source import Discovery, ImageSource
from citysplat_core.imagery.tables import FOUND_SCHEMA, GONE_SCHEMA, TILES_SCHEMA, write_table
from citysplat_core.imagery.tile_ledger import Look, Snapshot, TileLedger
from citysplat_core.imagery.tile_map import draw_tiles
from citysplat_core.storage import Progress, StepReport, write_json

_LOG = logging.getLogger(__name__)

Counts = dict[str, int | float | str]


def discover_images(
    area: Area,
    *,
    source: ImageSource,
    ledger: TileLedger | None = None,
    out: Path,
    work: Path,
    refresh: bool = False,
    previous: Path | None = None,
    progress: Progress,
) -> StepReport:
    """List every image of an area, with the state of every tile.

    What the source says is entered in the ledger first, also when it stops half-way; the artifact
    is a snapshot of the ledger. Tiles that could not be read are recorded as ``unknown`` or
    ``failed`` and counted: whoever goes on from there knows what is missing. Such a tile keeps the
    images of its last answer; deletion is concluded only from a tile that was read in full.

    Args:
        area: Where.
        source: Who is asked.
        ledger: The source's tiles in the city's ledger; None keeps no history beyond ``work``.
        out: Gets ``tiles.parquet``, ``found.parquet``, ``gone.parquet`` and ``tiles.png``.
        work: Directory that survives a kill.
        refresh: Ask again for every tile, the one that was read longest ago first. When the day's
            requests do not suffice, the others keep their last answer with its date. Without it,
            only tiles that have no answer are asked.
        previous: The last artifact of this step; a ledger that was lost starts from it.
        progress: Called with tiles done and tiles in all.

    Returns:
        Counts ``tiles``, ``tiles_complete``, ``tiles_empty``, ``tiles_unknown``, ``tiles_failed``,
        ``tiles_waiting`` (a re-fetch did not come to them), ``images_found``, ``images_new``,
        ``images_gone``, ``images_unchanged`` (all of this look), ``tombstones``,
        ``oldest_answer``, and the source's own, such as ``photos_without_position``; and the
        picture of the tiles.

    Raises:
        DiscoveryError: The area has no image, or the source cannot be asked (TokenError,
            BlockedError).
        StorageError: The disk is full.
    """
    if ledger is None:
        ledger = TileLedger(work / "imagery.sqlite", source.name)
    if previous is not None and ledger.is_empty():
        _take_over(ledger, previous)
    look = ledger.begin_look(is_refetch=refresh)
    write_json(work / "started.json", {"started_at": look.started_at})
    said = source.discover(area, work=work, refresh=look.is_refetch, progress=progress)
    ledger.record(said, area=area, look=look)
    snapshot = ledger.snapshot(area)
    counts = _counts(snapshot, said, look)
    _LOG.info("discovery: %s", counts)
    _raise_if_useless(source.name, said, snapshot, counts)
    if not (counts["tiles_unknown"] or counts["tiles_failed"]):
        ledger.end_look(look)
    first_seen = snapshot.found.select([*FOUND_SCHEMA.names, "first_seen"])
    write_table(snapshot.tiles, out / "tiles.parquet")
    write_table(first_seen, out / "found.parquet")
    write_table(snapshot.gone, out / "gone.parquet")
    draw_tiles(snapshot.tiles, area, out / "tiles.png")
    return StepReport(counts=counts, previews={"map of tiles": out / "tiles.png"})


def _take_over(ledger: TileLedger, previous: Path) -> None:
    """Fill an empty ledger from the last artifact, which may be of an older version."""
    try:
        tiles = _padded(pq.read_table(previous / "tiles.parquet"), TILES_SCHEMA)
        parts = [_padded(pq.read_table(previous / "found.parquet"), GONE_SCHEMA)]
        if (previous / "gone.parquet").is_file():
            parts.append(_padded(pq.read_table(previous / "gone.parquet"), GONE_SCHEMA))
    except (OSError, pa.ArrowException) as error:
        raise StorageError(
            f"the last tile ledger in {previous} cannot be read ({error})",
            expected="tiles.parquet and found.parquet",
            fix="Restore it from the backup, or delete artifacts/tile_ledger and run again.",
        ) from error
    ledger.restore(tiles, pa.concat_tables(parts))
    _LOG.info("the tile ledger was taken over from %s", previous)


def _padded(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _counts(snapshot: Snapshot, said: Discovery, look: Look) -> Counts:
    tiles = snapshot.tiles
    states = Counter(tiles.column("state").to_pylist())
    read_at = tiles.column("fetched_at")
    oldest = pc.min(read_at).as_py()
    began_ms = pa.scalar(int(look.started_at * 1000), pa.int64()).cast(read_at.type)
    waiting = pc.sum(pc.less(read_at, began_ms)).as_py() if look.is_refetch else 0
    counts: Counts = {
        "tiles": tiles.num_rows,
        "tiles_complete": states["complete"],
        "tiles_empty": states["empty"],
        "tiles_unknown": states["unknown"],
        "tiles_failed": states["failed"],
        "tiles_waiting": int(waiting or 0),
        "images_found": snapshot.found.num_rows,
        "images_new": _sum(tiles, "n_new"),
        "images_gone": _sum(tiles, "n_gone"),
        "images_unchanged": _sum(tiles, "n_unchanged"),
        "tombstones": snapshot.gone.num_rows,
        "oldest_answer": oldest.isoformat(timespec="seconds") if oldest else "",
        **said.notes,
    }
    if said.stopped is not None:
        counts["stopped"] = f"{said.stopped.seen}. {said.stopped.fix}"
    return counts


def _sum(tiles: pa.Table, name: str) -> int:
    return int(pc.sum(tiles.column(name)).as_py() or 0)


def _raise_if_useless(name: str, said: Discovery, snapshot: Snapshot, counts: Counts) -> None:
    """Raise what stopped the source, unless that is the day's budget and there is a result."""
    if said.stopped is not None:
        is_budget = isinstance(said.stopped, BudgetError)
        if not is_budget or snapshot.found.num_rows == 0:
            raise said.stopped
    if snapshot.found.num_rows == 0:
        raise _nothing_found(name, said.notes, snapshot.tiles, counts)


def _nothing_found(
    name: str, notes: dict[str, int], tiles: pa.Table, counts: Counts
) -> DiscoveryError:
    unread = int(counts["tiles_unknown"]) + int(counts["tiles_failed"])
    reasons = sorted({str(r) for r in tiles.column("reason").to_pylist() if r})
    if unread:
        return DiscoveryError(
            f"no image could be found: {unread} of {tiles.num_rows} tiles could not be read "
            f"({'; '.join(reasons[:3])})",
            expected="an answer for every tile",
            fix="Run again later; what was answered is kept. This does not mean the area is empty.",
        )
    extra = ", ".join(f"{key} {value}" for key, value in notes.items())
    return DiscoveryError(
        f"no photo in the area ({tiles.num_rows} tiles asked of source {name!r}"
        f"{'; ' + extra if extra else ''})",
        expected="at least one photo inside the area",
        fix="Enlarge the area, check that its coordinates are longitude before latitude, or check "
        "the [source] section of city.toml.",
    )
