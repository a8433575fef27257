"""What can be exported of a city: photos, tiles, boxes and fringes as layers of features."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from citysplat_core.geography import load_plan, tile_bounds
from citysplat_core.imagery.geoparquet import ROWS_AT_ONCE, require_points
from citysplat_core.imagery.tables import CATALOG_SCHEMA, TILES_SCHEMA, read_table
from citysplat_core.storage import ArtifactStore

What = Literal["images", "tiles", "boxes", "fringes"]
_BOUNDS = [(name, pa.float64()) for name in ("west", "south", "east", "north")]
_TILES = pa.schema([("tile", pa.string()), *TILES_SCHEMA, *_BOUNDS])
_BOXES = pa.schema(
    [
        *[("key", pa.string()), ("zoom", pa.int32()), ("n_images", pa.int64()), *_BOUNDS],
        *[("center_east_m", pa.float64()), ("center_north_m", pa.float64())],
    ]
)
_FRINGES = pa.schema(
    [("key", pa.string()), ("a", pa.string()), ("b", pa.string()), ("kind", pa.string())]
    + [("n_images", pa.int64())]
    + [(name, pa.float64()) for name in ("a_lon", "a_lat", "b_lon", "b_lat")]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Features of one kind, read in parts.

    Attributes:
        name: Its name in the file.
        geometry_type: ``Point``, ``Polygon`` or ``LineString``, in EPSG:4326.
        schema: Its columns, without ``geometry`` (WKB), which is the last one of every part.
        n_rows: How many features it has.
        parts: Gives the features from the first on, ``ROWS_AT_ONCE`` at a time.
    """

    name: str
    geometry_type: Literal["Point", "Polygon", "LineString"]
    schema: pa.Schema
    n_rows: int
    parts: Callable[[], Iterator[pa.Table]]


def open_layer(what: What, store: ArtifactStore) -> Layer:
    """Open a layer of a city's artifacts.

    Args:
        what: Which.
        store: The city's artifacts.

    Raises:
        StorageError: The artifact does not exist yet, or does not have its declared columns.
    """
    if what == "images":
        return _images(store.need("image_catalog").path / "catalog.parquet")
    if what == "tiles":
        table = _tiles(store.need("tile_ledger").path / "tiles.parquet")
        return _in_memory("tiles", "Polygon", table, _TILES)
    plan = store.need("box_plan").path / "plan.json"
    if what == "boxes":
        return _in_memory("boxes", "Polygon", _boxes(plan), _BOXES)
    return _in_memory("fringes", "LineString", _fringes(plan), _FRINGES)


def _images(catalog: Path) -> Layer:
    n_rows = require_points(catalog, CATALOG_SCHEMA)

    def parts() -> Iterator[pa.Table]:
        with pq.ParquetFile(catalog) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE):
                yield pa.Table.from_batches([batch])

    return Layer(
        name="images", geometry_type="Point", schema=CATALOG_SCHEMA, n_rows=n_rows, parts=parts
    )


def _in_memory(
    name: str, geometry_type: Literal["Polygon", "LineString"], table: pa.Table, schema: pa.Schema
) -> Layer:
    whole = schema.append(pa.field("geometry", pa.binary()))
    return Layer(
        name=name,
        geometry_type=geometry_type,
        schema=schema,
        n_rows=table.num_rows,
        parts=lambda: iter([table.cast(whole)]),
    )


def _tiles(path: Path) -> pa.Table:
    tiles = read_table(path, TILES_SCHEMA)
    addresses = list(
        zip(*(tiles.column(name).to_pylist() for name in ("z", "x", "y")), strict=True)
    )
    bounds = np.array([tile_bounds(*address) for address in addresses]).reshape(-1, 4)
    names = ["/".join(map(str, address)) for address in addresses]
    table = tiles.add_column(0, "tile", pa.array(names, pa.string()))
    for number, (name, _) in enumerate(_BOUNDS):
        table = table.append_column(name, pa.array(bounds[:, number]))
    return table.append_column("geometry", _squares(bounds))


def _boxes(path: Path) -> pa.Table:
    boxes = load_plan(path).boxes
    table = pa.Table.from_pylist([asdict(box) for box in boxes], schema=_BOXES)
    bounds = np.array([(b.west, b.south, b.east, b.north) for b in boxes]).reshape(-1, 4)
    return table.append_column("geometry", _squares(bounds))


def _fringes(path: Path) -> pa.Table:
    plan = load_plan(path)
    middle = {b.key: ((b.west + b.east) / 2, (b.south + b.north) / 2) for b in plan.boxes}
    ends = np.array([(*middle[f.a], *middle[f.b]) for f in plan.fringes]).reshape(-1, 4)
    places = dict(zip(("a_lon", "a_lat", "b_lon", "b_lat"), ends.T.tolist(), strict=True))
    rows = pa.Table.from_pylist([asdict(fringe) for fringe in plan.fringes], _FRINGES)
    for name, values in places.items():
        number = _FRINGES.get_field_index(name)
        rows = rows.set_column(number, _FRINGES.field(name), pa.array(values, pa.float64()))
    lines = shapely.linestrings(ends.reshape(-1, 2, 2))
    return rows.append_column("geometry", pa.array(shapely.to_wkb(lines), pa.binary()))


def _squares(bounds: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> pa.Array:
    return pa.array(shapely.to_wkb(shapely.box(*bounds.T)), pa.binary())
