"""City-wide tables in the order of the boxes, so that a box reads its own rows and no others."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from citysplat_core.storage import published

_ROWS_OF_A_GROUP = 4096


def write_in_groups(table: pa.Table, by: NDArray[np.int64], path: Path) -> None:
    """Write a table whose row groups end where a box (or fringe) ends.

    A reader that filters by that column opens the one or two row groups that can hold it.

    Args:
        table: Rows, sorted by box; dictionaries are written as plain values.
        by: The number of each row's box, ascending, shape (N,).
        path: The Parquet file (zstd).

    Raises:
        StorageError: The disk is full.
    """
    plain = pa.schema([_plain(field) for field in table.schema])
    ends = np.append(np.flatnonzero(np.diff(by)) + 1, len(by))
    texts = [f.name for f in plain if pa.types.is_string(f.type) and f.name != "image_id"]
    with (
        published(path) as stream,
        # Numbers hardly repeat: looking for dictionaries in them takes longer than writing them.
        pq.ParquetWriter(stream, plain, compression="zstd", use_dictionary=texts) as writer,
    ):
        start = 0
        for end in ends.tolist():
            if end - start >= _ROWS_OF_A_GROUP or end == len(by):
                rows = table.slice(start, end - start).cast(plain)
                writer.write_table(rows, row_group_size=max(1, end - start))
                start = end


def _plain(field: pa.Field) -> pa.Field:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    return pa.field(field.name, kind)


def slice_by_box(
    source: Path, rows: NDArray[np.int64], boxes: pa.DictionaryArray, path: Path
) -> None:
    """Copy a city-wide table, one row an image, in the order of the boxes.

    Args:
        source: Its Parquet file; a geometry column is left out.
        rows: The wanted rows of it, in the order of the boxes, shape (N,).
        boxes: Key of each row's box, shape (N,), as numbers into the sorted list of keys.
        path: The Parquet file to write, with a further column ``box``.

    Raises:
        StorageError: The disk is full.
    """
    file = pq.ParquetFile(source)
    wanted = pa.array(rows)
    columns: dict[str, pa.Array] = {"box": boxes}
    for field in file.schema_arrow:
        if field.name in {"geometry", "box"}:
            continue
        # One column at a time: all of them twice would be most of the memory of this step.
        values = file.read(columns=[field.name]).column(0)
        if pa.types.is_string(field.type) and field.name != "image_id":
            values = values.dictionary_encode()
        columns[field.name] = values.combine_chunks().take(wanted)
    numbers = boxes.indices.to_numpy().astype(np.int64)
    write_in_groups(pa.table(columns), numbers, path)
