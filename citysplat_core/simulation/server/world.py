"""The images that the server knows: a table in arrays, with additions and deletions."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

_FLOATS = (
    *("lon", "lat", "altitude", "computed_lon", "computed_lat", "computed_altitude"),
    *("compass_angle", "computed_compass_angle", "quality_score"),
)
_INTEGERS = ("image_id", "width", "height", "captured_at", "creator_id", "exif_orientation")
_TEXTS = ("camera_type", "sequence", "creator_username", "make", "model")
_VECTORS = ("rotation", "camera_parameters")


def world_schema() -> pa.Schema:
    """Return the columns of ``world.parquet``.

    ``lon``, ``lat``, ``altitude`` and ``compass_angle`` are what the phone said; ``computed_*``,
    ``rotation`` and ``camera_parameters`` what structure from motion says, NaN or null if it
    failed. ``captured_at`` is milliseconds since 1970, angles are degrees clockwise from north,
    ``organization_id`` is null if there is none.
    """
    return pa.schema(
        [(name, pa.float64()) for name in _FLOATS]
        + [(name, pa.int64()) for name in (*_INTEGERS, "organization_id")]
        + [(name, pa.string()) for name in _TEXTS]
        + [(name, pa.list_(pa.float64())) for name in _VECTORS]
        + [("is_pano", pa.bool_()), ("foot", pa.bool_())]
    )


class World:
    """All images, alive or deleted, with fast look-up by id, sequence and place.

    Attributes:
        columns: One array a column of ``world_schema``; vectors have shape (N, 3).
        alive: False for deleted images, shape (N,).
        revision: Rises with every change.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take the columns as they are; ``read_world`` and ``synthetic_world`` make them."""
        self.columns: dict[str, NDArray[Any]] = dict(columns)
        self.alive: NDArray[np.bool_] = np.ones(len(self.columns["image_id"]), dtype=bool)
        self.revision = 0
        self._index()

    def _index(self) -> None:
        ids = self.columns["image_id"]
        self.row_of: dict[int, int] = {int(value): row for row, value in enumerate(ids)}
        order = np.lexsort((ids, self.columns["captured_at"]))
        self._sequences: dict[str, list[int]] = {}
        for row in order.tolist():
            self._sequences.setdefault(str(self.columns["sequence"][row]), []).append(row)
        gps = _tile_units(self.columns["lon"], self.columns["lat"])
        sfm = _tile_units(self.columns["computed_lon"], self.columns["computed_lat"])
        self._units = {False: gps, True: sfm}

    @property
    def panorama_ids(self) -> frozenset[str]:
        """The ids of the panoramas, as decimal strings."""
        return frozenset(map(str, self.columns["image_id"][self.columns["is_pano"]].tolist()))

    @property
    def has_sfm(self) -> NDArray[np.bool_]:
        """Whether structure from motion placed the image, shape (N,)."""
        return np.asarray(np.isfinite(self.columns["computed_lon"]))

    def live_row(self, image_id: str) -> int | None:
        """Return the row of a live image, or None if it is unknown, deleted or not a number."""
        if not image_id.isascii() or not image_id.isdigit():
            return None
        row = self.row_of.get(int(image_id))
        return row if row is not None and self.alive[row] else None

    def sequence_rows(self, sequence: str) -> list[int]:
        """Return the live rows of a sequence in capture order."""
        return [row for row in self._sequences.get(sequence, []) if self.alive[row]]

    def sequence_names(self) -> list[str]:
        """Return every sequence, in order of its first image."""
        return list(self._sequences)

    def tile_units(self, *, computed: bool) -> NDArray[np.float64]:
        """Return positions as fractions of the world, 0 to 1, x east and y south, shape (N, 2)."""
        return self._units[computed]

    def creator_rows(self, username: str) -> list[int]:
        """Return the live rows of a creator in table order."""
        rows = np.flatnonzero((self.columns["creator_username"] == username) & self.alive)
        return [int(row) for row in rows]

    def add(self, columns: Mapping[str, NDArray[Any]]) -> list[str]:
        """Append images and return their ids."""
        merged = {name: np.concatenate([old, columns[name]]) for name, old in self.columns.items()}
        self.alive = np.concatenate([self.alive, np.ones(len(columns["image_id"]), dtype=bool)])
        self.columns = merged
        self.revision += 1
        self._index()
        return [str(value) for value in columns["image_id"]]

    def delete(self, image_ids: Iterable[str]) -> int:
        """Delete images and return how many there were to delete."""
        rows = [row for row in (self.live_row(i) for i in image_ids) if row is not None]
        self.alive[rows] = False
        self.revision += 1
        return len(rows)


def read_world(path: Path) -> World:
    """Read a world from ``world.parquet``; columns that are missing count as without value.

    Args:
        path: A Parquet file with at least image_id, lon, lat, captured_at, sequence, width, height.
    """
    table = pq.read_table(path)
    rows = table.num_rows
    columns: dict[str, NDArray[Any]] = {}
    for field in world_schema():
        if field.name in table.column_names:
            values = table.column(field.name).to_pylist()
        else:
            values = [None] * rows
        columns[field.name] = _array(field.name, values)
    return World(columns)


def _array(name: str, values: list[Any]) -> NDArray[Any]:
    if name in _FLOATS:
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    if name in _VECTORS:
        blank = [np.nan] * 3
        return np.array([blank if v is None else v for v in values], dtype=np.float64).reshape(
            len(values), 3
        )
    if name in _TEXTS:
        return np.array(["" if v is None else str(v) for v in values], dtype=object)
    if name in {"is_pano", "foot"}:
        return np.array([bool(v) for v in values], dtype=bool)
    missing = {"organization_id": 0, "exif_orientation": 1}.get(name, 0)
    return np.array([missing if v is None else int(v) for v in values], dtype=np.int64)


def _tile_units(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    x = (lon + 180.0) / 360.0
    y = (1.0 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2.0
    return np.column_stack([x, y])
