"""GeoParquet with a declared schema: points, written in parts, checked on the way in and out.

Format: GeoParquet 1.1.0 (geoparquet.org/releases/v1.1.0): WKB points in a column ``geometry``, and
the file's metadata key ``geo`` that says so.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from citysplat_core.errors import StorageError
from citysplat_core.storage import published

ROWS_AT_ONCE = 50_000
"""Rows of a row group."""

_WKB_POINT = np.dtype([("order", "u1"), ("kind", "<u4"), ("x", "<f8"), ("y", "<f8")])


def points_of(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> pa.Array:
    """Return little-endian WKB points; null where a coordinate is not finite.

    Args:
        lon: Longitudes, degrees, shape (N,).
        lat: Latitudes, degrees, shape (N,).
    """
    placed = np.isfinite(lon) & np.isfinite(lat)
    records = np.zeros(int(placed.sum()), dtype=_WKB_POINT)
    records["order"], records["kind"] = 1, 1
    records["x"], records["y"] = lon[placed], lat[placed]
    offsets = np.concatenate([[0], np.cumsum(placed)]).astype(np.int32) * _WKB_POINT.itemsize
    bits = np.packbits(placed, bitorder="little").tobytes()
    buffers = [pa.py_buffer(bits), pa.py_buffer(offsets.tobytes()), pa.py_buffer(records.tobytes())]
    return pa.Array.from_buffers(pa.binary(), len(placed), buffers, int((~placed).sum()))


@dataclass(slots=True)
class _Extent:
    """West, south, east and north of what was written so far."""

    low: NDArray[np.float64] = field(default_factory=lambda: np.full(2, np.inf))
    high: NDArray[np.float64] = field(default_factory=lambda: np.full(2, -np.inf))

    def take(self, corners: NDArray[np.float64]) -> None:
        """Take positions or corners, shape (M, 2); those that are not finite do not count."""
        finite = corners[np.isfinite(corners).all(axis=1)]
        if len(finite):
            self.low = np.minimum(self.low, finite.min(axis=0))
            self.high = np.maximum(self.high, finite.max(axis=0))

    def bbox(self) -> dict[str, list[float]]:
        if not np.isfinite(self.low).all():
            return {}
        return {"bbox": [*self.low.tolist(), *self.high.tolist()]}


def write_points(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> int:
    """Write rows with ``lon`` and ``lat`` as GeoParquet points; see ``write_features``."""

    def placed() -> Iterator[pa.Table]:
        for table in tables:
            lon, lat = table.column("lon").to_numpy(), table.column("lat").to_numpy()
            yield table.append_column("geometry", points_of(lon, lat))

    return write_features(placed(), schema, path, geometry_type="Point")


def write_features(
    tables: Iterable[pa.Table], schema: pa.Schema, path: Path, *, geometry_type: str
) -> int:
    """Write rows as GeoParquet in EPSG:4326, atomically.

    Args:
        tables: The rows in parts, of which one is in memory at a time; the last column is
            ``geometry`` (WKB).
        schema: The declared schema, without ``geometry``.
        path: The file (zstd).
        geometry_type: The type of all geometries.

    Returns:
        The number of rows.

    Raises:
        StorageError: A part has other columns or types than declared, or the disk is full.
    """
    whole = schema.append(pa.field("geometry", pa.binary()))
    extent, n_rows = _Extent(), 0
    texts = [f.name for f in schema if pa.types.is_string(f.type) and f.name != "image_id"]
    with (
        published(path) as stream,
        # Numbers hardly repeat: looking for dictionaries in them takes longer than writing them.
        pq.ParquetWriter(stream, whole, compression="zstd", use_dictionary=texts) as writer,
    ):
        for table in tables:
            require_schema(table.schema, whole, what=f"what is to be written to {path}")
            shapes = shapely.from_wkb(table.column("geometry").to_numpy(zero_copy_only=False))
            extent.take(shapely.bounds(shapes).reshape(-1, 2))
            writer.write_table(table.cast(whole), row_group_size=ROWS_AT_ONCE)
            n_rows += table.num_rows
        writer.add_key_value_metadata(
            {"geo": json.dumps(_description(geometry_type, extent.bbox()))}
        )
    return n_rows


def _description(geometry_type: str, bbox: dict[str, list[float]]) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": [geometry_type],
        "crs": CRS.from_epsg(4326).to_json_dict(),
        **bbox,
    }
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def require_schema(found: pa.Schema, declared: pa.Schema, *, what: str) -> None:
    """Refuse a table whose columns or types are not the declared ones.

    Further columns are allowed behind the declared ones only in files, see ``require_points``.

    Raises:
        StorageError: Names every column that is missing, unknown or of another type.
    """
    if found.names == declared.names and found.types == declared.types:
        return
    wrong = [f"{n} is missing" for n in declared.names if n not in found.names]
    wrong += [f"{n} is unknown" for n in found.names if n not in declared.names]
    for name in declared.names:
        if name in found.names and found.field(name).type != declared.field(name).type:
            kinds = f"{found.field(name).type}, not {declared.field(name).type}"
            wrong.append(f"{name} is {kinds}")
    raise StorageError(
        f"{what} does not have the declared columns ({'; '.join(wrong) or 'other order'})",
        expected=f"{len(declared.names)} columns in the order of docs/contracts.md",
        fix="Run the step that makes it again, with the version of CitySplat that reads it.",
    )


def require_points(path: Path, schema: pa.Schema) -> int:
    """Check that a file is GeoParquet of points with the declared schema.

    Only the file's footer is read.

    Args:
        path: The file.
        schema: The declared schema, without ``geometry``.

    Returns:
        The number of rows.

    Raises:
        StorageError: The file is missing, no Parquet, has other columns or types, or does not say
            that it is GeoParquet in EPSG:4326.
    """
    try:
        with pq.ParquetFile(path) as file:
            found, n_rows = file.schema_arrow, int(file.metadata.num_rows)
            geo = json.loads((file.metadata.metadata or {})[b"geo"])
        column = geo["columns"][geo["primary_column"]]
        in_degrees = column["crs"]["id"] == {"authority": "EPSG", "code": 4326}
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path} cannot be read as GeoParquet ({error!r})",
            expected="the GeoParquet file that an earlier step wrote",
            fix="Run the step that makes it again.",
        ) from error
    whole = schema.append(pa.field("geometry", pa.binary()))
    require_schema(found.remove_metadata(), whole, what=str(path))
    if column["encoding"] != "WKB" or not in_degrees:
        raise StorageError(
            f"{path} has geometries in {column['encoding']}, CRS {column['crs'].get('id')}",
            expected="WKB points in EPSG:4326",
            fix="Run the step that makes it again.",
        )
    return n_rows
