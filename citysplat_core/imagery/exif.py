"""What a photo's EXIF says about where, when and with what it was taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, UnidentifiedImageError

from citysplat_core.errors import ImageError

_FILM_WIDTH_MM = 36.0
_TIME = "%Y:%m:%d %H:%M:%S"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExifFacts:
    """EXIF of one photo; None where it says nothing or nonsense.

    Attributes:
        width: Of the file, pixels.
        height: Of the file, pixels.
        lon: Degrees, WGS84.
        lat: Degrees, WGS84.
        altitude_m: Metres; the datum is the camera's own affair, usually sea level.
        heading_deg: Clockwise from north.
        captured_at: UTC; a camera without time zone is taken at its word.
        make: Maker of the camera.
        model: Model of the camera.
        focal_ratio: Focal length over the longer side, from the 35 mm equivalent.
    """

    width: int
    height: int
    lon: float | None = None
    lat: float | None = None
    altitude_m: float | None = None
    heading_deg: float | None = None
    captured_at: datetime | None = None
    make: str | None = None
    model: str | None = None
    focal_ratio: float | None = None


def read_exif(path: Path) -> ExifFacts:
    """Read a photo's header; its pixels are not decoded.

    Raises:
        ImageError: The file is no image that can be opened.
    """
    try:
        with Image.open(path) as picture:
            exif = picture.getexif()
            gps: Mapping[int, Any] = exif.get_ifd(ExifTags.IFD.GPSInfo)
            details: Mapping[int, Any] = exif.get_ifd(ExifTags.IFD.Exif)
            width, height = picture.size
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise ImageError(
            f"{path.name} is no readable photo ({type(error).__name__})",
            expected="a JPEG or PNG file",
            fix="Export the photo again, or take it out of the folder.",
        ) from error
    lon, lat = _position(gps)
    return ExifFacts(
        width=width,
        height=height,
        lon=lon,
        lat=lat,
        altitude_m=_altitude(gps),
        heading_deg=_heading(gps),
        captured_at=_captured_at(gps, details),
        make=_text(exif.get(ExifTags.Base.Make)),
        model=_text(exif.get(ExifTags.Base.Model)),
        focal_ratio=focal_ratio_35mm(_number(details.get(ExifTags.Base.FocalLengthIn35mmFilm))),
    )


def focal_ratio_35mm(focal_35mm: float | None) -> float | None:
    """Return focal length over longer side from a 35 mm equivalent; None if absent or 0."""
    return focal_35mm / _FILM_WIDTH_MM if focal_35mm and focal_35mm > 0 else None


def _position(gps: Mapping[int, Any]) -> tuple[float | None, float | None]:
    lat = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), "S")
    lon = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), "W")
    if lon is None or lat is None or abs(lon) > 180 or abs(lat) > 90:
        return None, None
    if lon == 0.0 and lat == 0.0:
        return None, None  # what cameras write before they have a fix
    return lon, lat


def _degrees(parts: object, reference: object, negative: str) -> float | None:
    if not isinstance(parts, tuple | list) or len(parts) != 3:
        return None
    numbers = [_number(part) for part in parts]
    if numbers[0] is None:
        return None
    value = numbers[0] + (numbers[1] or 0.0) / 60.0 + (numbers[2] or 0.0) / 3600.0
    return -value if _text(reference) == negative else value


def _altitude(gps: Mapping[int, Any]) -> float | None:
    value = _number(gps.get(ExifTags.GPS.GPSAltitude))
    below = gps.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\x01")
    return None if value is None else -value if below else value


def _heading(gps: Mapping[int, Any]) -> float | None:
    value = _number(gps.get(ExifTags.GPS.GPSImgDirection))
    return None if value is None else value % 360.0


def _captured_at(gps: Mapping[int, Any], details: Mapping[int, Any]) -> datetime | None:
    day = _text(gps.get(ExifTags.GPS.GPSDateStamp))
    clock = gps.get(ExifTags.GPS.GPSTimeStamp)
    if day and isinstance(clock, tuple | list) and len(clock) == 3:
        hour, minute, second = (int(_number(part) or 0) for part in clock)
        found = _parsed(f"{day} {hour:02d}:{minute:02d}:{second:02d}")
        if found is not None:
            return found
    offset = _text(details.get(ExifTags.Base.OffsetTimeOriginal)) or ""
    return _parsed(_text(details.get(ExifTags.Base.DateTimeOriginal)) or "", offset)


def _parsed(text: str, offset: str = "") -> datetime | None:
    try:
        if offset:
            return datetime.strptime(f"{text} {offset}", f"{_TIME} %z").astimezone(UTC)
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def _number(value: Any) -> float | None:  # noqa: ANN401 - EXIF holds any type
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if abs(number) < 1e12 else None  # also drops NaN and infinity


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    text = value.replace("\x00", "").strip() if isinstance(value, str) else ""
    return text or None
