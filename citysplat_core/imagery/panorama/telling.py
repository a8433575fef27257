"""The one place that decides what is a panorama, and how much of the sphere it shows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SPHERICAL_TYPES: Final = frozenset({"spherical", "equirectangular"})
"""Camera types of a panorama; both words mean the same projection."""

_ASPECT_TOLERANCE: Final = 0.02
"""How far, relatively, a whole sphere's picture may be from 2:1 (rows cut off when encoding)."""
_MAKES: Final = ("insta360", "arashi vision", "kandao", "labpano", "trisio", "nctech", "ladybug")
_MODELS: Final = ("theta", "gopro max", "gopro fusion", "gear 360", "virb 360", "lg-r105")
_MORE_MODELS: Final = ("pixpro sp360", "pixpro orbit360", "mi sphere", "madv360", "qoocam", "one x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The part of the sphere that a picture shows, as shares of the whole 2:1 picture.

    Attributes:
        left: Left edge, 0 to 1; 0.5 is the middle, where the panorama's heading points.
        top: Upper edge, 0 (zenith) to 1 (nadir).
        width: Share of 360 degrees, above 0, at most 1.
        height: Share of 180 degrees, above 0, at most 1.
    """

    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0

    @property
    def goes_round(self) -> bool:
        """Whether its left and right edges are one."""
        return self.width > 1.0 - 1e-6


WHOLE_SPHERE: Final = Coverage()
"""What most panoramas show."""


def is_panorama(row: Mapping[str, Any]) -> bool:
    """Say whether a photo is a panorama; then it is never used as an ordinary photo.

    Args:
        row: ``camera_type`` and ``is_pano`` as its source says, and for folder photos ``source``,
            ``make``, ``model``, ``width`` and ``height``: a 360-degree camera's 2:1 picture counts
            even where its projection is not written down.
    """
    if row.get("camera_type") in SPHERICAL_TYPES or row.get("is_pano"):
        return True
    return row.get("source") == "folder" and shows_360_degrees(row)


def shows_360_degrees(row: Mapping[str, Any]) -> bool:
    """Say whether make, model and shape are those of a 360-degree camera's stitched picture."""
    width, height = row.get("width"), row.get("height")
    if not width or not height or abs(width / height / 2.0 - 1.0) > _ASPECT_TOLERANCE:
        return False
    make, model = str(row.get("make") or "").lower(), str(row.get("model") or "").lower()
    known = any(name in make or name in model for name in _MAKES)
    return known or any(name in f"{make} {model}" for name in (*_MODELS, *_MORE_MODELS))


def coverage_of(row: Mapping[str, Any]) -> Coverage | str:
    """Return what part of the sphere a panorama shows, or why that cannot be known.

    A source that knows of a crop (XMP GPano) gives ``pano_left``, ``pano_top``, ``pano_width`` and
    ``pano_height``. Without them, a picture wider than 2:1 is a strip around the horizon, as
    OpenSfM's spherical camera (and so Mapillary) reads it: 360 degrees wide, the same degrees a
    pixel upwards, the horizon in the middle. One that is narrower shows no sphere at all.

    Args:
        row: A catalog row; a missing width or height is taken as a whole sphere, and the file
            itself is looked at when it is cut.

    Returns:
        The coverage, or a reason that begins with ``panorama:``.
    """
    crop = [row.get(name) for name in ("pano_left", "pano_top", "pano_width", "pano_height")]
    if all(value is not None and math.isfinite(value) for value in crop):
        return _checked_crop(*(float(str(value)) for value in crop))
    width, height = row.get("width"), row.get("height")
    if not width or not height:
        return WHOLE_SPHERE
    aspect = width / height
    if abs(aspect / 2.0 - 1.0) <= _ASPECT_TOLERANCE:
        return WHOLE_SPHERE
    if aspect > 2.0:
        share = 2.0 / aspect
        return Coverage(top=(1.0 - share) / 2.0, height=share)
    return f"panorama: {width} x {height} pixels are no equirectangular picture (2:1)"


def _checked_crop(left: float, top: float, width: float, height: float) -> Coverage | str:
    slack = 1e-6
    starts = left >= -slack and top >= -slack and width > 0 and height > 0
    if not (starts and left + width <= 1 + slack and top + height <= 1 + slack):
        return "panorama: its crop (XMP GPano) lies outside of the whole picture"
    return Coverage(left=left, top=top, width=width, height=height)


def fits_picture(coverage: Coverage, width: int, height: int) -> bool:
    """Say whether a file of this size can be that part of a 2:1 picture, within 2 percent."""
    aspect = (width / coverage.width) / (height / coverage.height)
    return abs(aspect / 2.0 - 1.0) <= _ASPECT_TOLERANCE
