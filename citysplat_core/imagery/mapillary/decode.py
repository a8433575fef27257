"""From the bytes of a vector tile to a table of images."""

import logging

import numpy as np
import pyarrow as pa
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError

from citysplat_core.errors import DiscoveryError
from citysplat_core.imagery.tables import CAPTURED_AT, FOUND_SCHEMA

_LOG = logging.getLogger(__name__)
_EARTH_RADIUS_M = 6_378_137.0
_EXACT_FLOAT = 2.0**53


def decode_tile(body: bytes, z: int, x: int, y: int) -> pa.Table:
    """Return the images of a zoom-14 tile.

    Args:
        body: The tile's bytes, uncompressed or gzip; empty for a tile without images.
        z: Zoom.
        x: Column.
        y: Row.

    Returns:
        ``FOUND_SCHEMA`` in the tile's order, positions in EPSG:4326; points in the tile's buffer
        (they belong to a neighbour) are left out. Ids are text and exact.

    Raises:
        DiscoveryError: The bytes are no vector tile.
    """
    if not body:
        return FOUND_SCHEMA.empty_table()
    try:
        _, table = pyogrio.read_arrow(body, layer="image", X=x, Y=y, Z=z)
    except DataLayerError:
        return FOUND_SCHEMA.empty_table()
    except DataSourceError as error:
        raise DiscoveryError(
            f"tile {z}/{x}/{y} has {len(body)} bytes that are no vector tile",
            expected="a Mapbox vector tile",
            fix="Run again; the tile counts as failed until it can be read.",
        ) from error
    lon, lat = positions_of(table)
    columns = {
        "image_id": _ids(table, z, x, y),
        "lon": pa.array(lon),
        "lat": pa.array(lat),
        "sequence_id": _column(table, "sequence_id", pa.string()),
        "captured_at": _column(table, "captured_at", pa.int64()).cast(CAPTURED_AT),
        "is_pano": _column(table, "is_pano", pa.bool_()),
        "on_foot": _column(table, "foot", pa.bool_()),
        "tile": pa.array([f"{z}/{x}/{y}"] * table.num_rows, pa.string()),
        "photo_digest": pa.nulls(table.num_rows, pa.string()),
    }
    return pa.table(columns, schema=FOUND_SCHEMA)


def positions_of(table: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitudes and latitudes of a layer as GDAL reads it, degrees, shape (N,)."""
    points = shapely.from_wkb(table.column("wkb_geometry").to_numpy(zero_copy_only=False))
    lon = np.degrees(shapely.get_x(points) / _EARTH_RADIUS_M)
    lat = np.degrees(2.0 * np.arctan(np.exp(shapely.get_y(points) / _EARTH_RADIUS_M)) - np.pi / 2)
    return lon, lat


def _ids(table: pa.Table, z: int, x: int, y: int) -> pa.Array:
    """Read the image ids as exact text; the feature number of the tile is never one."""
    kind = table.schema.field("id").type if "id" in table.column_names else pa.null()
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise DiscoveryError(
            f"the images of tile {z}/{x}/{y} have ids of type {kind}",
            expected="a whole number as property `id` of every point of layer `image`",
            fix="Run again later; the tile counts as failed until it can be read.",
        )
    return table.column("id").combine_chunks().cast(pa.int64()).cast(pa.string())


def rounded_ids(body: bytes, z: int, x: int, y: int) -> int:
    """Count the ids of a tile that came as floating-point numbers too large to be exact."""
    if not body:
        return 0
    try:
        _, table = pyogrio.read_arrow(body, layer="image", X=x, Y=y, Z=z, columns=["id"])
    except (DataLayerError, DataSourceError):
        return 0
    if "id" not in table.column_names or not pa.types.is_floating(table.column("id").type):
        return 0
    return int(np.sum(np.abs(table.column("id").to_numpy(zero_copy_only=False)) >= _EXACT_FLOAT))


def _column(table: pa.Table, name: str, kind: pa.DataType) -> pa.Array:
    """Read a property; one that is absent or of an unusable type is null."""
    if name in table.column_names:
        try:
            return table.column(name).combine_chunks().cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            _LOG.warning("property %s has type %s", name, table.schema.field(name).type)
    return pa.nulls(table.num_rows, kind)
