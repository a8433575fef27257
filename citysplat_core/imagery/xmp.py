"""What a photo's XMP says of the panorama that it is (Google's GPano properties)."""

import math
from dataclasses import dataclass

from citysplat_core.errors import ImageError
from citysplat_core.imagery.safe_xml import local_name, parse_xml

_GPANO = "{http://ns.google.com/photos/1.0/panorama/}"
_LARGEST_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class PanoramaFacts:
    """GPano properties of one photo; None where it says nothing or nonsense.

    Attributes:
        projection: ``equirectangular`` for a sphere, in lower case.
        heading_deg: Clockwise from north, of the middle of the *whole* panorama.
        left: Left edge of the picture in the whole panorama, share of its width, 0 to 1.
        top: Upper edge, share of its height, 0 to 1.
        width: Share of the width that the picture shows.
        height: Share of the height.
    """

    projection: str | None = None
    heading_deg: float | None = None
    left: float | None = None
    top: float | None = None
    width: float | None = None
    height: float | None = None


def read_panorama_facts(xmp: bytes) -> PanoramaFacts:
    """Read the GPano properties of an XMP packet.

    The crop is given only if all six of its properties are there and fit each other.

    Args:
        xmp: The packet; without GPano properties, or damaged, it says nothing.
    """
    if b"panorama" not in xmp or len(xmp) > _LARGEST_BYTES:
        return PanoramaFacts()
    values = _properties(xmp)
    heading = _number(values.get("PoseHeadingDegrees"))
    projection = values.get("ProjectionType", "").strip().lower() or None
    left, top, width, height = _crop(values)
    return PanoramaFacts(
        projection=projection,
        heading_deg=None if heading is None else heading % 360.0,
        left=left,
        top=top,
        width=width,
        height=height,
    )


def _properties(xmp: bytes) -> dict[str, str]:
    """Return the properties by their local name; they stand as attributes or as elements."""
    try:
        root = parse_xml(xmp.strip(b"\x00 \r\n\t"), what="XMP")
    except ImageError:
        return {}  # a photo with damaged XMP is still a photo
    values: dict[str, str] = {}
    for element in root.iter():
        if isinstance(element.tag, str) and element.tag.startswith(_GPANO) and element.text:
            values[local_name(element.tag)] = element.text
        for name, value in element.attrib.items():
            if name.startswith(_GPANO):
                values[local_name(name)] = value
    return values


def _crop(
    values: dict[str, str],
) -> tuple[float, float, float, float] | tuple[None, None, None, None]:
    names = (
        *("CroppedAreaLeftPixels", "CroppedAreaTopPixels"),
        *("CroppedAreaImageWidthPixels", "CroppedAreaImageHeightPixels"),
        *("FullPanoWidthPixels", "FullPanoHeightPixels"),
    )
    numbers = [_number(values.get(name)) for name in names]
    known = [number for number in numbers if number is not None]
    if len(known) != len(names):
        return None, None, None, None
    left, top, width, height, full_width, full_height = known
    fits = left >= 0 and top >= 0 and left + width <= full_width and top + height <= full_height
    if not fits or width <= 0 or height <= 0:
        return None, None, None, None
    return left / full_width, top / full_height, width / full_width, height / full_height


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
