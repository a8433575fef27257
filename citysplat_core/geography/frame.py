"""The city frame: WGS84 to East-North-Up metres and back."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyproj import Transformer

from citysplat_core.errors import GeoreferenceError


@dataclass(frozen=True)
class CityFrame:
    """East-North-Up metres at a fixed origin.

    The plane touches the ellipsoid at the origin, so "up" of a point d metres away is lower than
    its height by about d^2 / 12.7e6 (0.08 m at 1 km, 7.9 m at 10 km); ``lon_lat_alt`` undoes it
    exactly.

    Attributes:
        origin_lon: Longitude of the origin, degrees, EPSG:4326.
        origin_lat: Latitude of the origin, degrees.
        origin_alt_m: Height of the origin above the ellipsoid, metres.
    """

    origin_lon: float
    origin_lat: float
    origin_alt_m: float = 0.0
    _pipeline: Transformer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse an origin outside the datum's range, and NaN."""
        # A numpy float would put its type into the pipeline's text, and PROJ would read a zero.
        values = (float(self.origin_lon), float(self.origin_lat), float(self.origin_alt_m))
        if not (abs(values[0]) <= 180 and abs(values[1]) < 90 and abs(values[2]) < 1e5):
            raise GeoreferenceError(
                f"frame origin lon={values[0]}, lat={values[1]}, alt={values[2]}",
                expected="degrees in WGS84, lon before lat, and metres",
                fix="Correct the [frame] section of city.toml.",
            )
        pipeline = Transformer.from_pipeline(
            "+proj=pipeline +step +proj=cart +ellps=WGS84 +step +proj=topocentric +ellps=WGS84 "
            f"+lon_0={values[0]!r} +lat_0={values[1]!r} +h_0={values[2]!r}"
        )
        object.__setattr__(self, "_pipeline", pipeline)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to worker processes without the pipeline, which is made anew."""
        return type(self), (self.origin_lon, self.origin_lat, self.origin_alt_m)

    def enu(
        self, lon: ArrayLike, lat: ArrayLike, alt_m: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """Convert positions to East-North-Up metres.

        Args:
            lon: Longitudes, degrees, shape (N,) or scalar.
            lat: Latitudes, degrees, same shape.
            alt_m: Heights above the ellipsoid, metres. None or NaN: east and north are computed at
                the origin's height and up is NaN.

        Returns:
            East, north, up in metres, float64, shape (N, 3) ((3,) for scalars).

        Raises:
            GeoreferenceError: A longitude or latitude is not finite or out of range.
        """
        lon_deg, lat_deg = np.broadcast_arrays(np.asarray(lon, float), np.asarray(lat, float))
        height = np.asarray(np.nan if alt_m is None else alt_m, float)
        height = np.broadcast_to(height, lon_deg.shape)
        bad = np.flatnonzero(~((np.abs(lon_deg) <= 180) & (np.abs(lat_deg) <= 90)))
        if bad.size:
            raise GeoreferenceError(
                f"{bad.size} of {lon_deg.size} positions are not on the globe "
                f"(rows {bad[:3].tolist()})",
                expected="finite degrees in WGS84, lon before lat",
                fix="Drop or repair these positions first.",
            )
        missing = np.isnan(height)
        known = np.where(missing, self.origin_alt_m, height)
        east, north, up = self._pipeline.transform(
            np.radians(lon_deg), np.radians(lat_deg), known, radians=True
        )
        return np.stack([east, north, np.where(missing, np.nan, up)], axis=-1)

    def lon_lat_alt(self, enu: ArrayLike) -> NDArray[np.float64]:
        """Convert East-North-Up metres back.

        Args:
            enu: Shape (N, 3) or (3,), metres; a NaN up is read as 0 and gives a NaN height.

        Returns:
            Longitude, latitude in degrees and height in metres, float64, same shape.
        """
        values = np.asarray(enu, float)
        missing = np.isnan(values[..., 2])
        up = np.where(missing, 0.0, values[..., 2])
        lon, lat, alt = self._pipeline.transform(
            values[..., 0], values[..., 1], up, radians=True, direction="INVERSE"
        )
        alt = np.where(missing, np.nan, alt)
        return np.stack([np.degrees(lon), np.degrees(lat), alt], axis=-1)
