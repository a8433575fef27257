"""A town as a folder: its settings, its tables and its area."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from citysplat_core.errors import ConfigError
from citysplat_core.simulation.captures import plan_captures
from citysplat_core.simulation.tables import truth_table, world_table
from citysplat_core.simulation.town import Town, build_town
from citysplat_core.simulation.town_settings import TownSettings
from citysplat_core.storage import published


def write_town(folder: Path, settings: TownSettings) -> Town:
    """Make a town and write all but its photos.

    Writes ``town.json`` (settings), ``world.parquet`` (what a photo service knows),
    ``truth.parquet`` and ``area.geojson`` (the driven area); ``town.json`` comes last, each file
    whole or not at all. The same settings write the same tables.

    Args:
        folder: Made if it does not exist.
        settings: What the town is like.

    Returns:
        The town.
    """
    town = build_town(settings)
    captures = plan_captures(town)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "world.parquet", _parquet(world_table(town, captures)))
    _write(folder / "truth.parquet", _parquet(truth_table(town, captures)))
    _write(folder / "area.geojson", _area(town))
    _write(folder / "town.json", (settings.model_dump_json(indent=1) + "\n").encode())
    return town


def load_town(folder: Path) -> Town:
    """Build the town that a folder describes.

    Args:
        folder: Written by ``write_town``.

    Raises:
        ConfigError: There is no ``town.json`` there, or it is malformed.
    """
    path = folder / "town.json"
    try:
        return build_town(TownSettings.model_validate_json(path.read_bytes()))
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder} holds no town.json",
            expected="a folder written by write_town",
            fix="Make the town anew.",
        ) from error
    except ValidationError as error:
        raise ConfigError(
            f"{path} is malformed: {error.errors()[0]['loc']} {error.errors()[0]['msg']}",
            expected="the settings of a town",
            fix="Make the town anew.",
        ) from error


def _write(path: Path, content: bytes) -> None:
    with published(path) as stream:
        stream.write(content)


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _area(town: Town) -> bytes:
    """Give the driven area, widened by three metres of GPS error, as GeoJSON."""
    edges = np.array(town.grid.bounds_m) + np.array([-3.0, -3.0, 3.0, 3.0])
    west, south, east, north = edges.tolist()
    ring_m = [(west, south), (east, south), (east, north), (west, north), (west, south)]
    corners = np.array([(x, y, 0.0) for x, y in ring_m])
    enu = corners @ np.linalg.inv(town.town_from_enu).T
    ring = [[round(lon, 9), round(lat, 9)] for lon, lat, _ in town.frame.lon_lat_alt(enu).tolist()]
    feature = {
        "type": "Feature",
        "properties": {"name": "Simulated town"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    return json.dumps({"type": "FeatureCollection", "features": [feature]}, indent=1).encode()
