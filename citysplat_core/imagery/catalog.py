"""The step that describes every image: the catalog."""

import json
import logging
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from pyproj import CRS

from citysplat_core.errors import DiscoveryError, ImageError
from citysplat_core.imagery.identity import IdentityRegistry
from citysplat_core.imagery.source import ImageSource
from citysplat_core.imagery.tables import CATALOG_SCHEMA, FOUND_SCHEMA, read_table, write_table
from citysplat_core.imagery.tombstones import with_tombstones
from citysplat_core.storage import Progress, StepReport

_LOG = logging.getLogger(__name__)


def build_catalog(
    tile_ledger: Path,
    *,
    source: ImageSource,
    registry: IdentityRegistry,
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
        out: Gets ``catalog.parquet`` (GeoParquet, EPSG:4326, sorted by image_id).
        work: Directory that survives a kill.
        progress: Called with images done and images in all.

    Returns:
        Counts ``images``, ``listed``, ``gone``, ``failed``, ``with_computed_position``,
        ``without_altitude``, ``panoramas``, ``sequences``, ``creators``, and one ``failed: REASON``
        for each reason.

    Raises:
        DiscoveryError: The source cannot be asked, or no image is usable.
        ImageError: Two images have one id.
        StorageError: The disk is full, or the ledger cannot be read.
    """
    found = read_table(tile_ledger / "found.parquet", FOUND_SCHEMA)
    described = source.describe(found, work=work, progress=progress)
    described = with_tombstones(described, tile_ledger, source.name)
    described = described.take(pc.sort_indices(described, [("image_id", "ascending")]))
    ids = described.column("image_id").to_pylist()
    _refuse_doubles(ids)
    numbers = registry.issue(ids)
    column = pa.array([numbers[image_id] for image_id in ids], pa.int32())
    catalog = described.add_column(1, "colmap_id", column).cast(CATALOG_SCHEMA)
    counts = _counts(catalog)
    _LOG.info("catalog: %s", counts)
    if counts["listed"] == 0:
        raise DiscoveryError(
            f"none of {catalog.num_rows} images is usable ({_reasons(catalog)})",
            expected="images with a position that their source still has",
            fix="Folder photos need EXIF GPS or a positions CSV (source.positions_csv); with "
            "Mapillary, run again later.",
        )
    _write(catalog, out / "catalog.parquet")
    return StepReport(counts=counts)


def _refuse_doubles(sorted_ids: list[str]) -> None:
    doubles = [a for a, b in pairwise(sorted_ids) if a == b]
    if doubles:
        raise ImageError(
            f"{len(doubles)} image ids occur twice (first {doubles[:3]})",
            expected="one image for each id",
            fix="Rename one of the photos, or remove the double rows from the positions CSV.",
        )


def _write(catalog: pa.Table, path: Path) -> None:
    """Write GeoParquet; an image without a position has no geometry."""
    lon, lat = catalog.column("lon").to_numpy(), catalog.column("lat").to_numpy()
    placed = np.isfinite(lon) & np.isfinite(lat)
    points = np.full(len(lon), None, dtype=object)
    points[placed] = shapely.to_wkb(shapely.points(lon[placed], lat[placed]))
    description: dict[str, object] = {
        "encoding": "WKB",
        "geometry_types": ["Point"],
        "crs": CRS.from_epsg(4326).to_json_dict(),
        "bbox": [lon[placed].min(), lat[placed].min(), lon[placed].max(), lat[placed].max()],
    }
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": description}}
    table = catalog.append_column("geometry", pa.array(points, pa.binary()))
    write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)


def _counts(catalog: pa.Table) -> dict[str, int | float | str]:
    status = Counter(catalog.column("status").to_pylist())
    listed = catalog.filter(pc.equal(catalog.column("status"), "listed"))
    failed = Counter(
        catalog.filter(pc.equal(catalog.column("status"), "failed")).column("reason").to_pylist()
    )
    return {
        "images": catalog.num_rows,
        "listed": status["listed"],
        "gone": status["gone"],
        "failed": status["failed"],
        "with_computed_position": _finite(listed, "computed_lon"),
        "without_altitude": listed.num_rows - _finite(listed, "altitude_m"),
        "panoramas": int(pc.sum(listed.column("is_pano")).as_py() or 0),
        "sequences": int(pc.count_distinct(listed.column("sequence_id")).as_py()),
        "creators": int(pc.count_distinct(listed.column("creator")).as_py()),
        **{f"failed: {reason}": count for reason, count in sorted(failed.most_common(5))},
    }


def _finite(table: pa.Table, name: str) -> int:
    return int(np.isfinite(table.column(name).to_numpy()).sum())


def _reasons(catalog: pa.Table) -> str:
    reasons = Counter(str(reason) for reason in catalog.column("reason").to_pylist())
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
