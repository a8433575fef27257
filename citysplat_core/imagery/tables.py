"""The columns of the tables that this room writes, and reading and writing them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from citysplat_core.errors import StorageError
from citysplat_core.storage import published

CAPTURED_AT = pa.timestamp("ms", tz="UTC")

TILES_SCHEMA = pa.schema(
    [
        ("z", pa.int32()),
        ("x", pa.int32()),
        ("y", pa.int32()),
        ("state", pa.string()),
        ("n_images", pa.int64()),
        ("sha256", pa.string()),
        ("fetched_at", CAPTURED_AT),
        ("reason", pa.string()),
        ("tries", pa.int32()),
        ("n_new", pa.int64()),
        ("n_gone", pa.int64()),
        ("n_unchanged", pa.int64()),
    ]
)
"""One row a discovery tile; state is ``unknown``, ``empty``, ``complete`` or ``failed``.

A source leaves the last three null, and may leave ``tries`` null; 0 tries of an ``unknown`` tile
says that it was not asked at all. In the ledger's own snapshot ``tries`` counts the requests
without a usable answer since the last good one.
"""

FOUND_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("lon", pa.float64()),
        ("lat", pa.float64()),
        ("sequence_id", pa.string()),
        ("captured_at", CAPTURED_AT),
        ("is_pano", pa.bool_()),
        ("on_foot", pa.bool_()),
        ("tile", pa.string()),
        ("photo_digest", pa.string()),
    ]
)
"""One row an image inside the area, sorted by image_id; on_foot is null where nobody says.

``photo_digest`` changes when the photo behind an id does; null where a source cannot replace one.
"""

GONE_SCHEMA = pa.schema(
    [*FOUND_SCHEMA, *((name, CAPTURED_AT) for name in ("first_seen", "last_seen", "gone_at"))]
)
"""One row an image that a tile had and, when it was read in full again, had no more."""

_FLOATS = (
    *("lon", "lat", "altitude_m", "computed_lon", "computed_lat", "computed_altitude_m"),
    *("heading_deg", "computed_heading_deg", "rotation_x", "rotation_y", "rotation_z"),
)
DESCRIBED_SCHEMA = pa.schema(
    [("image_id", pa.string()), ("sequence_id", pa.string()), ("captured_at", CAPTURED_AT)]
    + [(name, pa.float64()) for name in _FLOATS]
    + [
        ("camera_type", pa.string()),
        ("focal_ratio", pa.float64()),
        ("k1", pa.float64()),
        ("k2", pa.float64()),
        ("make", pa.string()),
        ("model", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("creator", pa.string()),
        ("creator_id", pa.string()),
        ("organization_id", pa.string()),
        ("licence", pa.string()),
        ("is_pano", pa.bool_()),
        ("on_foot", pa.bool_()),
        ("quality_score", pa.float64()),
        ("exif_orientation", pa.int32()),
        ("merge_cc", pa.string()),
        ("atomic_scale", pa.float64()),
        ("source", pa.string()),
        ("photo_ref", pa.string()),
        ("photo_digest", pa.string()),
        ("panorama_id", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
    ]
    + [(name, pa.float64()) for name in ("view_yaw_deg", "view_pitch_deg")]
    + [(name, pa.float64()) for name in ("pano_left", "pano_top", "pano_width", "pano_height")]
)
"""The image catalog without its numbers and geometry; missing floats are NaN, the rest null."""

CATALOG_SCHEMA = pa.schema(
    [DESCRIBED_SCHEMA.field(0), pa.field("colmap_id", pa.int32()), *list(DESCRIBED_SCHEMA)[1:]]
)
"""The image catalog without its geometry."""

IMAGES_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("colmap_id", pa.int32()),
        ("camera_id", pa.int32()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("blur_score", pa.float64()),
        ("luminance_mean", pa.float64()),
        ("luminance_std", pa.float64()),
        ("crete", pa.float64()),
        ("laplacian", pa.float64()),
        ("dark_share", pa.float64()),
        ("bright_share", pa.float64()),
        ("dhash", pa.string()),
        ("sequence_id", pa.string()),
        ("captured_at", CAPTURED_AT),
    ]
    + [(name, pa.float64()) for name in ("east_m", "north_m", "up_m", "heading_deg")]
    + [(name, pa.float64()) for name in ("rotation_x", "rotation_y", "rotation_z")]
    + [("creator", pa.string()), ("mask", pa.string()), ("mask_share", pa.float64())]
    + [("panorama_id", pa.string())]
    + [(name, pa.float64()) for name in ("view_yaw_deg", "view_pitch_deg")]
)
"""The photos of a box, sorted by colmap_id; status is ``ok``, ``failed`` or ``rejected``."""

PHOTO_SCORES = (
    *("blur_score", "luminance_mean", "luminance_std", "crete", "laplacian"),
    *("dark_share", "bright_share", "dhash"),
)
"""Columns of the photos that rules judge by; no later step reads them."""

CAMERAS_SCHEMA = pa.schema(
    [
        ("camera_id", pa.int32()),
        ("camera_key", pa.string()),
        ("model", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("params", pa.list_(pa.float64())),
        ("has_prior_focal", pa.bool_()),
    ]
)
"""The cameras of a box's ``ok`` photos, sorted by camera_id."""


def utc_from_ms(milliseconds: int | None) -> datetime | None:
    """Return an aware time, exact to the millisecond; None for None and for impossible times."""
    if milliseconds is None:
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def table_of(rows: list[dict[str, object]], schema: pa.Schema) -> pa.Table:
    """Build a table; an absent or None float becomes NaN, anything else absent becomes null."""
    columns = []
    for field in schema:
        column = pa.array([row.get(field.name) for row in rows], field.type)
        if pa.types.is_floating(field.type):
            column = pc.fill_null(column, float("nan"))
        columns.append(column)
    return pa.table(columns, schema=schema)


def slices_of(table: pa.Table, n_rows: int) -> Iterator[pa.Table]:
    """Give a table in parts of ``n_rows``, which share its memory."""
    for start in range(0, table.num_rows, n_rows):
        yield table.slice(start, n_rows)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file (zstd) atomically.

    Raises:
        StorageError: The disk is full.
    """
    with published(path) as stream:
        pq.write_table(table, stream, compression="zstd")


def read_table(
    path: Path,
    schema: pa.Schema,
    columns: list[str] | None = None,
    where: list[tuple[str, str, object]] | pc.Expression | None = None,
    repeated: Sequence[str] = (),
) -> pa.Table:
    """Read a Parquet file and check that it has the columns that are wanted.

    Args:
        path: The file.
        schema: What an earlier step wrote.
        columns: The columns to read; None for all of ``schema``.
        where: Conditions on columns, ``(name, "==", value)``, or an expression; other rows are
            dropped while the file is read, and row groups that cannot have any are passed over.
        repeated: Columns of text with few values, which are compared and held once a value while
            the file is read.

    Raises:
        StorageError: The file is missing or is no such table; names the path.
    """
    names = columns or schema.names
    try:
        table = pq.read_table(
            path, columns=names, filters=where, read_dictionary=list(repeated) or None
        )
        return table.cast(pa.schema([schema.field(name) for name in names]))
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise StorageError(
            f"{path} cannot be read ({str(error).partition(chr(10))[0]})",
            expected=f"a Parquet table with the columns {', '.join(names)}",
            fix="Run the step that makes it again.",
        ) from error
