"""Images that their source has no more, as rows of the catalog."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from citysplat_core.imagery.tables import DESCRIBED_SCHEMA, GONE_SCHEMA, read_table


def with_tombstones(described: pa.Table, tile_ledger: Path, source: str) -> pa.Table:
    """Add the tombstones of the tile ledger to described images, as status ``gone``.

    Args:
        described: ``DESCRIBED_SCHEMA``; an image that is in it has no tombstone.
        tile_ledger: Folder with ``gone.parquet``; one without it has no tombstones.
        source: Name of the source.

    Returns:
        ``DESCRIBED_SCHEMA``; the reason says when the image was last seen.
    """
    file = tile_ledger / "gone.parquet"
    if not file.is_file() or pq.ParquetFile(file).metadata.num_rows == 0:
        return described
    gone = read_table(file, GONE_SCHEMA)
    gone = gone.filter(pc.invert(pc.is_in(gone.column("image_id"), described.column("image_id"))))
    days = pc.strftime(gone.column("last_seen"), format="%Y-%m-%d")
    known = {
        "status": pa.array(["gone"] * gone.num_rows),
        "source": pa.array([source] * gone.num_rows),
        "reason": pc.binary_join_element_wise("removed at the source, last seen", days, " "),
    }
    columns = [_column(gone, field, known) for field in DESCRIBED_SCHEMA]
    return pa.concat_tables([described, pa.table(columns, schema=DESCRIBED_SCHEMA)])


def _column(
    gone: pa.Table, field: pa.Field, known: dict[str, pa.Array | pa.ChunkedArray]
) -> pa.Array | pa.ChunkedArray:
    if field.name in known:
        return known[field.name].cast(field.type)
    if field.name in gone.column_names:
        return gone.column(field.name).cast(field.type)
    if pa.types.is_floating(field.type):  # a missing number is NaN in this table
        return pa.array([float("nan")] * gone.num_rows, field.type)
    return pa.nulls(gone.num_rows, field.type)
