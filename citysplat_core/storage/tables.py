"""Content digests of Parquet tables."""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

Filter = tuple[str, str, object]
"""Column, operator and value, as pyarrow's ``filters`` takes them."""

_ROWS_AT_ONCE = 65_536
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_NOTHING = np.uint64(0xA5A5A5A5_5A5A5A5A)


def digest_of_frame(table: pd.DataFrame) -> str:
    """Hash a table's values and column names; rows count in any order.

    Returns:
        16 hex digits. Two tables with the same rows give the same digest.
    """
    return _digest([pa.Table.from_pandas(table, preserve_index=False)], table.columns.tolist())


def digest_of_table(
    file: Path, *, without: Collection[str] = (), where: Sequence[Filter] | None = None
) -> str:
    """Hash a Parquet file's rows, a part of them in memory at a time.

    Args:
        file: The file.
        without: Columns to leave out, such as times of fetching.
        where: Only the rows that pass these filters; row groups without such rows are not read.

    Returns:
        16 hex digits, as ``digest_of_frame`` gives for the same rows.
    """
    if where is not None:
        table = pq.read_table(file, filters=list(where))
        return _digest([table], [n for n in table.column_names if n not in without])
    with pq.ParquetFile(file) as source:
        names = [name for name in source.schema_arrow.names if name not in without]
        batches = source.iter_batches(_ROWS_AT_ONCE, columns=names)
        return _digest((pa.Table.from_batches([batch]) for batch in batches), names)


def digests_by(file: Path, by: str) -> dict[str, str]:
    """Hash the rows of a Parquet file for each value of a column of texts, in one pass.

    Returns:
        Value to 16 hex digits: what ``digest_of_table`` gives ``where`` the column has that value.
    """
    rows, keys = [np.empty(0, np.uint64)], []
    with pq.ParquetFile(file) as source:
        ordered = sorted(source.schema_arrow.names)
        for batch in source.iter_batches(_ROWS_AT_ONCE):
            table = pa.Table.from_batches([batch])
            rows.append(_row_hashes(table, ordered))
            keys.append(table.column(by).cast(pa.string()).combine_chunks())
    encoded = pa.chunked_array(keys, pa.string()).combine_chunks().dictionary_encode()
    codes, hashes = encoded.indices.to_numpy(), np.concatenate(rows)
    order = np.lexsort((hashes, codes))
    ends = np.cumsum(np.bincount(codes, minlength=len(encoded.dictionary)))
    groups = np.split(hashes[order], ends[:-1])
    values = encoded.dictionary.to_pylist()
    return {v: _name(ordered, group) for v, group in zip(values, groups, strict=False)}


def _digest(parts: Iterable[pa.Table], names: Sequence[str]) -> str:
    ordered = sorted(str(name) for name in names)
    rows = [np.empty(0, np.uint64), *(_row_hashes(part, ordered) for part in parts)]
    return _name(ordered, np.sort(np.concatenate(rows)))


def _row_hashes(part: pa.Table, ordered: Sequence[str]) -> NDArray[np.uint64]:
    row = np.zeros(part.num_rows, np.uint64)
    for name in ordered:
        # Like digits of a number: the same value in another column is another row.
        row = _mixed(row * _MULTIPLIER ^ _hashes(part.column(name)))
    return row


def _name(ordered: Sequence[str], sorted_rows: NDArray[np.uint64]) -> str:
    digest = hashlib.sha256("|".join(ordered).encode())
    digest.update(sorted_rows.tobytes())
    return digest.hexdigest()[:16]


def _hashes(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Hash each value of a column; what is missing has a hash of its own, NaN or null alike."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_floating(kind):
        filled = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
        bits = np.where(filled == 0.0, 0.0, filled).view(np.uint64)  # -0.0 is 0.0
        return np.where(np.isnan(filled), _NOTHING, _mixed(bits))
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        return _of_numbers(column)
    return _of_texts(column)


def _of_numbers(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    present = np.asarray(column.is_valid())
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("ns", tz=column.type.tz)).cast(pa.int64())
    filled = pc.fill_null(column.cast(pa.int64()), 0).to_numpy().view(np.uint64)
    return np.where(present, _mixed(filled), _NOTHING)


def _of_texts(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """Hash texts, bytes and lists: each distinct value once."""
    if pa.types.is_nested(column.type):
        column = pa.chunked_array([pa.array([repr(v) for v in column.to_pylist()], pa.string())])
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_numpy(zero_copy_only=False)
    hashes = np.append(pd.util.hash_array(values, categorize=False), _NOTHING)
    places = pc.fill_null(encoded.indices, len(hashes) - 1).to_numpy().astype(np.int64)
    return np.asarray(hashes[places], np.uint64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread bits, as the finalizer of SplitMix64 (Steele, Lea and Flood, 2014) does."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
