"""What a photo's header says about where, when and with what it was taken."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image
from PIL.JpegImagePlugin import JpegImageFile

from citysplat_core.errors import ImageError
from citysplat_core.imagery.exif_time import captured_at
from citysplat_core.imagery.exif_values import number, text
from citysplat_core.imagery.xmp import PanoramaFacts, read_panorama_facts

_FILM_WIDTH_MM = 36.0
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0}
_NO_PANORAMA = PanoramaFacts()
_JPEG = b"\xff\xd8\xff"
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError),
    *(struct.error, Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""What Pillow raises for files that are damaged, foreign or huge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExifFacts:
    """EXIF and XMP of one photo; None where they say nothing or nonsense.

    Attributes:
        width: Of the photo when it is upright, pixels.
        height: Of the photo when it is upright, pixels.
        orientation: How the stored pixels are turned or mirrored, 1 (not at all) to 8.
        lon: Degrees, WGS84.
        lat: Degrees, WGS84.
        altitude_m: Metres; the datum is the camera's own affair, usually sea level.
        heading_deg: Clockwise from north; from magnetic north if ``heading_is_magnetic``.
        heading_is_magnetic: Whether the camera says that its direction is a magnetic one.
        captured_at: UTC; a camera without time zone is taken at its word.
        time_is_gps: Whether the time is that of the GPS clock.
        make: Maker of the camera.
        model: Model of the camera.
        focal_ratio: Focal length over the longer side, from the 35 mm equivalent, else from focal
            length and pixel density of the sensor.
        panorama: What XMP says of a panorama.
    """

    width: int
    height: int
    orientation: int = 1
    lon: float | None = None
    lat: float | None = None
    altitude_m: float | None = None
    heading_deg: float | None = None
    heading_is_magnetic: bool = False
    captured_at: datetime | None = None
    time_is_gps: bool = False
    make: str | None = None
    model: str | None = None
    focal_ratio: float | None = None
    panorama: PanoramaFacts = _NO_PANORAMA


def read_exif(path: Path | BinaryIO) -> ExifFacts:
    """Read a photo's header; its pixels are not decoded.

    Args:
        path: The file, or one that is open for reading.

    Raises:
        ImageError: The file is no image that can be opened.
    """
    try:
        with open_picture(path) as picture:
            main: Mapping[int, Any] = (exif := picture.getexif())
            gps: Mapping[int, Any] = exif.get_ifd(ExifTags.IFD.GPSInfo)
            details: Mapping[int, Any] = exif.get_ifd(ExifTags.IFD.Exif)
            width, height = picture.size
            xmp = picture.info.get("xmp") or b""
            is_turned = picture.format == "TIFF"  # Pillow gives the upright size of these
    except UNREADABLE as error:
        name = path.name if isinstance(path, Path) else "the file"
        raise ImageError(
            f"{name} is no readable photo ({type(error).__name__})",
            expected="a JPEG, PNG, TIFF or WebP file",
            fix="Export the photo again, or take it out of the folder.",
        ) from error
    orientation = orientation_of(main)
    if orientation >= 5 and not is_turned:
        width, height = height, width
    lon, lat = _position(gps)
    moment, time_is_gps = captured_at(gps, details, main)
    return ExifFacts(
        width=width,
        height=height,
        orientation=orientation,
        lon=lon,
        lat=lat,
        altitude_m=_altitude(gps),
        heading_deg=_heading(gps),
        heading_is_magnetic=text(gps.get(ExifTags.GPS.GPSImgDirectionRef)) == "M",
        captured_at=moment,
        time_is_gps=time_is_gps,
        make=text(main.get(ExifTags.Base.Make)),
        model=text(main.get(ExifTags.Base.Model)),
        focal_ratio=_focal_ratio(details, max(width, height)),
        panorama=read_panorama_facts(xmp.encode() if isinstance(xmp, str) else bytes(xmp)),
    )


def open_picture(file: Path | BinaryIO) -> Image.Image:
    """Open an image file; its pixels are not decoded.

    A JPEG may be of any size: Pillow's guard against huge pictures would refuse the panoramas of
    good cameras, and warn on standard error of smaller ones.

    Args:
        file: The file, or one that is open for reading, at its beginning.

    Raises:
        UNREADABLE: It is no image, or a huge one of another format.
    """
    if isinstance(file, Path):
        with file.open("rb") as stream:
            is_jpeg = stream.read(3) == _JPEG
    else:
        is_jpeg = file.read(3) == _JPEG
        file.seek(0)
    return JpegImageFile(file) if is_jpeg else Image.open(file)


def orientation_of(main: Mapping[int, Any]) -> int:
    """Return how the stored pixels are turned, 1 to 8; what is not written or nonsense is 1."""
    value = number(main.get(ExifTags.Base.Orientation))
    return int(value) if value is not None and 1 <= value <= 8 else 1


def focal_ratio_35mm(focal_35mm: float | None) -> float | None:
    """Return focal length over longer side from a 35 mm equivalent; None if absent or 0."""
    return focal_35mm / _FILM_WIDTH_MM if focal_35mm and focal_35mm > 0 else None


def _focal_ratio(details: Mapping[int, Any], longer_px: int) -> float | None:
    told = focal_ratio_35mm(number(details.get(ExifTags.Base.FocalLengthIn35mmFilm)))
    if told is not None:
        return told
    focal_mm = number(details.get(ExifTags.Base.FocalLength))
    density = number(details.get(ExifTags.Base.FocalPlaneXResolution))
    unit = number(details.get(ExifTags.Base.FocalPlaneResolutionUnit)) or 2.0
    # The density counts the pixels of the photo as it left the camera, not of a reduced copy.
    sides = (ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight)
    taken_px = max((number(details.get(side)) or 0.0 for side in sides), default=0.0)
    if (
        not focal_mm
        or not density
        or focal_mm <= 0
        or density <= 0
        or int(unit) not in _MM_PER_UNIT
    ):
        return None
    ratio = focal_mm * density / _MM_PER_UNIT[int(unit)] / (taken_px or longer_px)
    return ratio if 0.2 < ratio < 20.0 else None


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
    numbers = [number(part) for part in parts]
    if numbers[0] is None:
        return None
    value = numbers[0] + (numbers[1] or 0.0) / 60.0 + (numbers[2] or 0.0) / 3600.0
    return -value if (text(reference) or "").upper() == negative else value


def _altitude(gps: Mapping[int, Any]) -> float | None:
    value = number(gps.get(ExifTags.GPS.GPSAltitude))
    # 1 is below sea level in EXIF 2 and below the ellipsoid in EXIF 3, which has 3 for the sea.
    below = gps.get(ExifTags.GPS.GPSAltitudeRef) in {1, 3, b"\x01", b"\x03"}
    return None if value is None else -value if below else value


def _heading(gps: Mapping[int, Any]) -> float | None:
    value = number(gps.get(ExifTags.GPS.GPSImgDirection))
    return None if value is None else value % 360.0
