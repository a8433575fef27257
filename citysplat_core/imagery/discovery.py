"""The step that finds every image of the area and proves it tile by tile."""

import logging
from collections import Counter
from pathlib import Path

from citysplat_core.errors import DiscoveryError
from citysplat_core.geography import Area
from citysplat_core.imagery.source import Discovery, ImageSource
from citysplat_core.imagery.tables import write_table
from citysplat_core.storage import Progress, StepReport

_LOG = logging.getLogger(__name__)


def discover_images(
    area: Area,
    *,
    source: ImageSource,
    out: Path,
    work: Path,
    refresh: bool = False,
    progress: Progress,
) -> StepReport:
    """List every image of an area, with the state of every tile.

    Tiles that could not be read are recorded as ``unknown`` or ``failed`` and counted: whoever
    goes on from there knows what is missing.

    Args:
        area: Where.
        source: Who is asked.
        out: Gets ``tiles.parquet`` and ``found.parquet``.
        work: Directory that survives a kill.
        refresh: Ask again for tiles that are cached from before this run. Tiles that failed
            are never cached, so without it a second run asks for just those.
        progress: Called with tiles done and tiles in all.

    Returns:
        Counts ``tiles``, ``tiles_complete``, ``tiles_empty``, ``tiles_unknown``, ``tiles_failed``,
        ``images_found`` and the source's own, such as ``photos_without_position``.

    Raises:
        DiscoveryError: The area has no image, or the source cannot be asked (TokenError,
            BlockedError).
        StorageError: The disk is full.
    """
    found = source.discover(area, work=work, refresh=refresh, progress=progress)
    counts = _counts(found)
    _LOG.info("discovery: %s", counts)
    if found.found.num_rows == 0:
        raise _nothing_found(source.name, found, counts)
    write_table(found.tiles, out / "tiles.parquet")
    write_table(found.found, out / "found.parquet")
    return StepReport(counts=counts)


def _counts(discovery: Discovery) -> dict[str, int | float | str]:
    states = Counter(discovery.tiles.column("state").to_pylist())
    return {
        "tiles": discovery.tiles.num_rows,
        "tiles_complete": states["complete"],
        "tiles_empty": states["empty"],
        "tiles_unknown": states["unknown"],
        "tiles_failed": states["failed"],
        "images_found": discovery.found.num_rows,
        **discovery.notes,
    }


def _nothing_found(
    name: str, discovery: Discovery, counts: dict[str, int | float | str]
) -> DiscoveryError:
    tiles = discovery.tiles
    unread = int(counts["tiles_unknown"]) + int(counts["tiles_failed"])
    reasons = sorted({str(r) for r in tiles.column("reason").to_pylist() if r})
    if unread:
        return DiscoveryError(
            f"no image could be found: {unread} of {tiles.num_rows} tiles could not be read "
            f"({'; '.join(reasons[:3])})",
            expected="an answer for every tile",
            fix="Run again later; what was answered is kept. This does not mean the area is empty.",
        )
    extra = ", ".join(f"{key} {value}" for key, value in discovery.notes.items())
    return DiscoveryError(
        f"no photo in the area ({tiles.num_rows} tiles asked of source {name!r}"
        f"{'; ' + extra if extra else ''})",
        expected="at least one photo inside the area",
        fix="Enlarge the area, check that its coordinates are longitude before latitude, or check "
        "the [source] section of city.toml.",
    )
