"""The area that the user wants built."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from shapely.geometry import box, mapping, shape
from shapely.geometry.base import BaseGeometry
from shapely.prepared import prep

from citysplat_core.errors import AreaError
from citysplat_core.geography.quadkeys import tile_bounds, tile_of

DISCOVERY_ZOOM = 14


@dataclass(frozen=True)
class Area:
    """A polygon, or several, in longitude and latitude.

    Attributes:
        polygon: A valid shapely Polygon or MultiPolygon in EPSG:4326.
    """

    polygon: BaseGeometry

    def __post_init__(self) -> None:
        """Refuse what is not a usable polygon."""
        shapes = "Polygon", "MultiPolygon"
        if self.polygon.geom_type not in shapes or self.polygon.is_empty or not self.polygon.area:
            raise AreaError(
                f"the area is a {self.polygon.geom_type} of area {self.polygon.area}",
                expected="a polygon with an inside",
                fix="Give a GeoJSON polygon, or west,south,east,north (west < east).",
            )
        if not self.polygon.is_valid:
            raise AreaError(
                f"the polygon is not valid ({shapely.is_valid_reason(self.polygon)})",
                expected="a ring that does not cross itself",
                fix="Repair it in any GIS editor and run again.",
            )
        west, south, east, north = self.polygon.bounds
        if west < -180 or east > 180 or south < -85 or north > 85:
            raise AreaError(
                f"the area reaches from {west},{south} to {east},{north}",
                expected="degrees in WGS84, lon before lat, within 85 degrees of latitude",
                fix="Check the coordinate system of the GeoJSON and the order of the numbers.",
            )

    @classmethod
    def from_bounds(cls, text: str) -> Self:
        """Read ``west,south,east,north`` in degrees.

        Raises:
            AreaError: Not four numbers, or they span nothing.
        """
        try:
            west, south, east, north = (float(part) for part in text.split(","))
        except ValueError as error:
            raise AreaError(
                f"area {text!r}",
                expected="four numbers west,south,east,north in degrees",
                fix="Example: 13.19,55.69,13.20,55.70",
            ) from error
        if not (west < east and south < north):
            raise AreaError(
                f"area {text!r} spans nothing",
                expected="west < east and south < north",
                fix="Check the order of the numbers: west,south,east,north.",
            )
        return cls(box(west, south, east, north))

    @classmethod
    def from_geojson(cls, path: Path) -> Self:
        """Read a GeoJSON geometry, feature or feature collection; several polygons are joined.

        Raises:
            AreaError: The file is missing, is not GeoJSON or holds no polygon.
        """
        try:
            value: Any = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise AreaError(
                f"{path} does not exist",
                expected="a GeoJSON file with the area's polygon",
                fix="Check `area` in city.toml, or give west,south,east,north.",
            ) from error
        except ValueError as error:
            raise AreaError(
                f"{path} is not JSON ({error})",
                expected="a GeoJSON file with the area's polygon",
                fix="Export the area as GeoJSON again.",
            ) from error
        try:
            parts = [shape(geometry) for geometry in _geometries(value)]
        except (KeyError, TypeError, ValueError, AttributeError, shapely.GEOSException) as error:
            raise AreaError(
                f"{path} holds no readable geometry ({error})",
                expected="a GeoJSON polygon",
                fix="Export the area as GeoJSON again.",
            ) from error
        polygons = [p for p in parts if p.geom_type in ("Polygon", "MultiPolygon")]
        if not polygons:
            raise AreaError(
                f"{path} holds {len(parts)} geometries and no polygon",
                expected="at least one polygon",
                fix="Draw the area as a polygon and export it as GeoJSON.",
            )
        return cls(shapely.union_all(polygons) if len(polygons) > 1 else polygons[0])

    def tiles(self, zoom: int = DISCOVERY_ZOOM) -> list[tuple[int, int, int]]:
        """List the web-mercator tiles that the area touches, as (z, x, y), sorted."""
        west, south, east, north = self.polygon.bounds
        xs, ys = tile_of([west, east], [north, south], zoom)
        prepared = prep(self.polygon)
        return [
            (zoom, x, y)
            for x in range(int(xs[0]), int(xs[1]) + 1)
            for y in range(int(ys[0]), int(ys[1]) + 1)
            if prepared.intersects(box(*tile_bounds(zoom, x, y)))
        ]

    def contains(self, lon: ArrayLike, lat: ArrayLike) -> NDArray[np.bool_]:
        """Say for each position whether it lies inside; NaN is outside."""
        return np.asarray(shapely.contains_xy(self.polygon, np.asarray(lon), np.asarray(lat)))

    def center(self) -> tuple[float, float]:
        """Give longitude and latitude of the middle of the bounding box, degrees."""
        west, south, east, north = self.polygon.bounds
        return (west + east) / 2, (south + north) / 2

    def to_geojson(self) -> dict[str, Any]:
        """Give the polygon as a GeoJSON geometry."""
        return dict(mapping(self.polygon))


def _geometries(value: Any) -> list[Any]:  # noqa: ANN401 - parsed JSON
    if value["type"] == "FeatureCollection":
        return [feature["geometry"] for feature in value["features"] if feature["geometry"]]
    if value["type"] == "Feature":
        return [value["geometry"]]
    return [value]
