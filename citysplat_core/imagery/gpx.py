"""GPX tracks, and where on them a photo was taken."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from citysplat_core.errors import ImageError
from citysplat_core.imagery.safe_xml import local_name, parse_xml

_METRES_PER_DEG = 111_320.0
_MOTION_M = 3.0
_MOTION_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A track without interruption, sorted by time, no two points at one time.

    Attributes:
        time_s: Seconds since 1970, shape (N,).
        lon: Degrees without a jump at 180, shape (N,).
        lat: Degrees, shape (N,).
        altitude_m: Metres, NaN where unknown, shape (N,).
    """

    time_s: NDArray[np.float64]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    altitude_m: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackPosition:
    """A place on a track.

    Attributes:
        lon: Degrees.
        lat: Degrees.
        altitude_m: Metres; None if a neighbouring point has none.
        motion_deg: Direction of the movement, clockwise from north; None if it stands still.
    """

    lon: float
    lat: float
    altitude_m: float | None
    motion_deg: float | None


def read_tracks(paths: Sequence[Path]) -> list[Segment]:
    """Read the segments of GPX files that have times.

    Args:
        paths: GPX files, or folders of them.

    Returns:
        Segments in the order of the files (folders sorted by name). Times without a zone are UTC,
        as the format wants them. Points without time are left out, and segments of fewer than two
        points.

    Raises:
        ImageError: A file is missing or no GPX, or no file has a track with times.
    """
    segments: list[Segment] = []
    for path in _files(paths):
        segments += _segments(path)
    if paths and not segments:
        raise ImageError(
            f"{', '.join(str(path) for path in paths)} hold no track with times",
            expected="GPX with <trkpt> points that have <time>",
            fix="Export the track with times, or take source.gpx out of city.toml.",
        )
    return segments


def place_on_tracks(
    segments: Sequence[Segment], time_s: float, *, max_gap_s: float
) -> TrackPosition | None:
    """Return where the receiver was, or None if no segment knows.

    Positions between two points are interpolated along a straight line, but not across more than
    ``max_gap_s``. Where several segments (of several receivers) know, the one with the closest
    points wins; of equals the first.

    Args:
        segments: From ``read_tracks``.
        time_s: Seconds since 1970, true time.
        max_gap_s: Longest time between the two points, seconds.
    """
    best: tuple[float, Segment] | None = None
    for segment in segments:
        times = segment.time_s
        if not times[0] <= time_s <= times[-1]:
            continue
        after = max(1, int(np.searchsorted(times, time_s)))
        gap_s = float(times[after] - times[after - 1])
        if gap_s <= max_gap_s and (best is None or gap_s < best[0]):
            best = (gap_s, segment)
    return None if best is None else _position(best[1], time_s)


def _position(segment: Segment, time_s: float) -> TrackPosition:
    lon, lat = _at(segment, time_s)
    after = max(1, int(np.searchsorted(segment.time_s, time_s)))
    pair = slice(after - 1, after + 1)
    altitude = float(np.interp(time_s, segment.time_s[pair], segment.altitude_m[pair]))
    return TrackPosition(
        lon=(lon + 180.0) % 360.0 - 180.0,
        lat=lat,
        altitude_m=altitude if math.isfinite(altitude) else None,
        motion_deg=_motion_deg(segment, time_s),
    )


def _at(segment: Segment, time_s: float) -> tuple[float, float]:
    lon = float(np.interp(time_s, segment.time_s, segment.lon))
    return lon, float(np.interp(time_s, segment.time_s, segment.lat))


def _motion_deg(segment: Segment, time_s: float) -> float | None:
    """Return the direction between places around a time, far enough apart to outdo the noise."""
    half_s = 0.5
    while half_s <= _MOTION_S:
        first = max(float(segment.time_s[0]), time_s - half_s)
        last = min(float(segment.time_s[-1]), time_s + half_s)
        (lon_a, lat_a), (lon_b, lat_b) = _at(segment, first), _at(segment, last)
        north = (lat_b - lat_a) * _METRES_PER_DEG
        east = (lon_b - lon_a) * _METRES_PER_DEG * math.cos(math.radians(lat_a))
        if math.hypot(east, north) >= _MOTION_M:
            return math.degrees(math.atan2(east, north)) % 360.0
        half_s *= 2.0
    return None


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix.lower() == ".gpx")
        else:
            found.append(path)
    return found


def _segments(path: Path) -> list[Segment]:
    try:
        body = path.read_bytes()
    except OSError as error:
        raise ImageError(
            f"{path} cannot be read ({error.strerror})",
            expected="a GPX file",
            fix="Check source.gpx in city.toml; it is relative to that file.",
        ) from error
    root = parse_xml(body, what=str(path))
    parts = (element for element in root.iter() if local_name(str(element.tag)) == "trkseg")
    return [segment for segment in (_segment(path, part) for part in parts) if segment is not None]


def _segment(path: Path, part: Element) -> Segment | None:
    points = []
    for point in part:
        if local_name(str(point.tag)) != "trkpt":
            continue
        try:
            values = _point(point)
        except (ValueError, TypeError) as error:
            raise ImageError(
                f"{path} has a point that cannot be read ({dict(point.attrib)}: {error})",
                expected="lat and lon in degrees, time in ISO 8601",
                fix="Export the track again.",
            ) from error
        if values is not None:
            points.append(values)
    table = np.array(points, np.float64).reshape(-1, 4)
    _, first = np.unique(table[:, 0], return_index=True)  # sorts by time as well
    table = table[first]
    if len(table) < 2:
        return None
    lon = np.degrees(np.unwrap(np.radians(table[:, 1])))
    return Segment(time_s=table[:, 0], lon=lon, lat=table[:, 2], altitude_m=table[:, 3])


def _point(point: Element) -> tuple[float, float, float, float] | None:
    """Return time, longitude, latitude and altitude, or None for a point without time."""
    lon, lat = float(point.attrib.get("lon", "")), float(point.attrib.get("lat", ""))
    if abs(lon) > 180 or abs(lat) > 90:
        raise ValueError("not on the globe")
    texts = {local_name(str(child.tag)): (child.text or "").strip() for child in point}
    if not texts.get("time"):
        return None
    moment = datetime.fromisoformat(texts["time"])
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    altitude = float(texts["ele"]) if texts.get("ele") else math.nan
    return moment.timestamp(), lon, lat, altitude
