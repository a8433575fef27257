"""A table of positions that comes with a folder of photos."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from citysplat_core.errors import ImageError
from citysplat_core.imagery.exif import focal_ratio_35mm
from citysplat_core.imagery.tables import utc_from_ms

_REQUIRED = ("file", "lon", "lat")


def read_positions(path: Path) -> list[dict[str, Any]]:
    """Read a CSV of positions.

    Args:
        path: A CSV file with a heading. Needed: ``file`` (relative to the photo folder), ``lon``
            and ``lat`` (degrees; empty if unknown). Used where given: ``id``, ``altitude``
            (metres), ``compass_angle`` (degrees), ``captured_at`` (milliseconds since 1970, or ISO
            8601, UTC if it names no zone), ``sequence_id``, ``make``, ``model``, ``width``,
            ``height``, ``camera_type``, ``is_pano`` (0 or 1), ``exif_focal35_mm``, ``creator``.

    Returns:
        One dictionary a row, with catalog column names; what a row does not say is None.

    Raises:
        ImageError: The file is missing, a needed column is, or a number is none; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(
            f"{path} cannot be read ({error})",
            expected="a CSV file of positions in UTF-8",
            fix="Check source.positions_csv in city.toml.",
        ) from error
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in _REQUIRED if name not in (reader.fieldnames or [])]
    if missing:
        raise ImageError(
            f"{path} has no column {', '.join(missing)}",
            expected=f"the columns {', '.join(_REQUIRED)}",
            fix="Add them to the first line of the CSV.",
        )
    return [_row(path, number, raw) for number, raw in enumerate(reader, start=2)]


def _row(path: Path, line: int, raw: dict[str, str | None]) -> dict[str, Any]:
    try:
        return _values({key: (value or "").strip() for key, value in raw.items() if key})
    except ValueError as error:
        raise ImageError(
            f"line {line} of {path} cannot be read ({error})",
            expected="numbers with a decimal point, times in milliseconds or ISO 8601",
            fix="Correct the line.",
        ) from error


def _values(raw: dict[str, str]) -> dict[str, Any]:
    if not raw["file"]:
        raise ValueError("no file name")
    lon, lat = _number(raw.get("lon")), _number(raw.get("lat"))
    if (lon is not None and abs(lon) > 180) or (lat is not None and abs(lat) > 90):
        raise ValueError(f"position lon={lon}, lat={lat} is not on the globe")
    width, height = _number(raw.get("width")), _number(raw.get("height"))
    camera_type = raw.get("camera_type") or None
    return {
        "photo_ref": raw["file"],
        "image_id": raw.get("id") or None,
        "lon": lon,
        "lat": lat,
        "altitude_m": _number(raw.get("altitude")),
        "heading_deg": _number(raw.get("compass_angle")),
        "captured_at": _time(raw.get("captured_at")),
        "sequence_id": raw.get("sequence_id") or None,
        "make": raw.get("make") or None,
        "model": raw.get("model") or None,
        "width": None if width is None else int(width),
        "height": None if height is None else int(height),
        "camera_type": "spherical" if camera_type == "equirectangular" else camera_type,
        "is_pano": raw.get("is_pano", "").lower() in {"1", "true", "yes"},
        "focal_ratio": focal_ratio_35mm(_number(raw.get("exif_focal35_mm"))),
        "creator": raw.get("creator") or None,
    }


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    if text.lstrip("-").replace(".", "", 1).isdigit():
        return utc_from_ms(int(float(text)))
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
