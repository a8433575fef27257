"""The step that describes every image: the catalog."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from citysplat_core.errors import DiscoveryError, ImageError
from citysplat_core.imagery.geoparquet import ROWS_AT_ONCE, write_points
from citysplat_core.imagery.identity import IdentityRegistry
from citysplat_core.imagery.metadata_scores import metadata_scores
from citysplat_core.imagery.panorama import add_views, count_panoramas
from citysplat_core.imagery.source import ImageSource
from citysplat_core.imagery.tables import (
    CATALOG_SCHEMA,
    FOUND_SCHEMA,
    read_table,
    slices_of,
    write_table,
)
from citysplat_core.imagery.tombstones import with_tombstones
from citysplat_core.settings import PanoramaSettings
from citysplat_core.storage import Progress, StepReport

_LOG = logging.getLogger(__name__)
_DEFAULT_PANORAMAS = PanoramaSettings()
_COUNTED = (
    *("status", "reason", "source", "computed_lon", "altitude_m"),
    *("is_pano", "panorama_id", "sequence_id", "creator"),
)


def build_catalog(
    tile_ledger: Path,
    *,
    source: ImageSource,
    registry: IdentityRegistry,
    panoramas: PanoramaSettings = _DEFAULT_PANORAMAS,
    out: Path,
    work: Path,
    progress: Progress,
) -> StepReport:
    """Describe every image of a tile ledger and give each its number.

    Images that are gone or could not be asked stay in the catalog with that status; nothing is
    dropped.

    Args:
        tile_ledger: Folder with ``found.parquet`` and ``gone.parquet``.
        source: Who is asked.
        registry: Issues the numbers.
        panoramas: Which views panoramas are cut into; each view is a row of its own.
        out: Gets ``catalog.parquet`` (GeoParquet, EPSG:4326, sorted by image_id) and
            ``scores.parquet``, see ``metadata_scores``.
        work: Directory that survives a kill.
        progress: Called with images done and images in all.

    Returns:
        Counts ``images``, ``listed``, ``gone``, ``failed``, ``failed_to_retry`` (by a service
        that may answer later), ``with_computed_position``, ``without_altitude``,
        ``panoramas``, ``panoramas_cut``, ``panoramas_excluded``, ``views``,
        ``sequences``, ``creators``, and one ``failed: REASON`` for each reason.

    Raises:
        DiscoveryError: The source cannot be asked, or no image is usable.
        ImageError: Two images have one id.
        StorageError: The disk is full, or the ledger cannot be read.
    """
    found = read_table(tile_ledger / "found.parquet", FOUND_SCHEMA)
    described = source.describe(found, work=work, progress=progress)
    del found
    described = with_tombstones(described, tile_ledger, source.name)
    described = add_views(described, panoramas)
    described = _sorted(described)
    numbers = registry.issue_column(described.column("image_id"))
    catalog = described.add_column(1, "colmap_id", numbers).cast(CATALOG_SCHEMA)
    del described
    counts = _counts(catalog)
    _LOG.info("catalog: %s", counts)
    if counts["listed"] == 0:
        raise DiscoveryError(
            f"none of {catalog.num_rows} images is usable ({_reasons(catalog)})",
            expected="images with a position that their source still has",
            fix="Folder photos need EXIF GPS or a positions CSV (source.positions_csv); with "
            "Mapillary, run again later.",
        )
    write_points(slices_of(catalog, ROWS_AT_ONCE), CATALOG_SCHEMA, out / "catalog.parquet")
    write_table(metadata_scores(catalog), out / "scores.parquet")
    return StepReport(counts=counts)


def _sorted(described: pa.Table) -> pa.Table:
    """Sort by image_id, without a copy if it is sorted; refuse an id that occurs twice."""
    ids = described.column("image_id").combine_chunks()
    if len(ids) < 2:
        return described
    if not pc.all(pc.less_equal(ids[:-1], ids[1:])).as_py():
        described = described.take(pc.sort_indices(ids))
        ids = described.column("image_id").combine_chunks()
    doubles = ids[1:].filter(pc.equal(ids[:-1], ids[1:]))
    if len(doubles):
        raise ImageError(
            f"{len(doubles)} image ids occur twice (first {doubles[:3].to_pylist()})",
            expected="one image for each id",
            fix="Rename one of the photos, or remove the double rows from the positions CSV.",
        )
    return described


def _counts(catalog: pa.Table) -> dict[str, int | float | str]:
    status = _tally(catalog.column("status"))
    catalog = catalog.select(_COUNTED)  # a filtered copy of all columns would double the memory
    listed = catalog.filter(pc.equal(catalog.column("status"), "listed"))
    # A panorama is counted once, and not by the sequences that its views make.
    taken = pc.is_in(catalog.column("status"), pa.array(["listed", "cut", "excluded"]))
    photos = catalog.filter(pc.and_(taken, catalog.column("panorama_id").is_null()))
    unusable = catalog.filter(pc.equal(catalog.column("status"), "failed"))
    failed = _tally(unusable.column("reason"))
    asked_again = pc.not_equal(unusable.column("source"), "folder")
    return {
        "images": catalog.num_rows,
        "listed": status["listed"],
        "gone": status["gone"],
        "failed": status["failed"],
        "failed_to_retry": int(pc.sum(asked_again).as_py() or 0),
        "with_computed_position": _finite(listed, "computed_lon"),
        "without_altitude": listed.num_rows - _finite(listed, "altitude_m"),
        **count_panoramas(catalog),
        "sequences": int(pc.count_distinct(photos.column("sequence_id")).as_py()),
        "creators": int(pc.count_distinct(photos.column("creator")).as_py()),
        **{f"failed: {reason}": count for reason, count in sorted(failed.most_common(5))},
    }


def _tally(column: pa.ChunkedArray) -> Counter[str]:
    """Count the values of a column of texts."""
    counts = column.value_counts()
    values, numbers = counts.field("values").to_pylist(), counts.field("counts").to_pylist()
    return Counter(dict(zip(map(str, values), numbers, strict=True)))


def _finite(table: pa.Table, name: str) -> int:
    return int(np.isfinite(table.column(name).to_numpy()).sum())


def _reasons(catalog: pa.Table) -> str:
    reasons = _tally(catalog.column("reason")).most_common(3)
    return ", ".join(f"{count} {reason}" for reason, count in reasons)
