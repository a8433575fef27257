"""From a STAC item of Panoramax's API to what is kept of it and to a row of the catalog."""

import math
from datetime import UTC, datetime
from typing import Any

_KEPT_PROPERTIES = (
    *("datetime", "license", "view:azimuth", "pers:interior_orientation", "geovisio:producer"),
    "updated",
)
_KEPT_EXIF = (
    *("Exif.GPSInfo.GPSAltitude", "Exif.GPSInfo.GPSAltitudeRef"),
    *("Exif.Photo.FocalLengthIn35mmFilm", "Xmp.GPano.ProjectionType"),
)
_FILM_WIDTH_MM = 36.0
_WIDEST_PERSPECTIVE_DEG = 170.0
_WIDEST_PX = 1_000_000
_SD_WIDTH_PX, _THUMB_WIDTH_PX = 2048, 500


def trimmed(item: Any) -> dict[str, Any] | None:  # noqa: ANN401 - whatever the service sends
    """Return what is kept of an item, or None if it has no id or no position.

    Args:
        item: A feature of a search's answer.
    """
    if not isinstance(item, dict) or not isinstance(item.get("id"), str) or not item["id"]:
        return None
    place = _position(item)
    if place is None:
        return None
    properties = _dict(item.get("properties"))
    exif = _dict(properties.get("exif"))
    assets = _dict(item.get("assets"))
    kept: dict[str, Any] = {
        name: properties[name] for name in _KEPT_PROPERTIES if name in properties
    }
    return {
        "id": item["id"],
        "collection": item.get("collection"),
        "position": place,
        "providers": item.get("providers"),
        "properties": kept | {"exif": {name: exif[name] for name in _KEPT_EXIF if name in exif}},
        "assets": {
            kind: assets[kind]["href"]
            for kind in ("hd", "sd", "thumb")
            if isinstance(_dict(assets.get(kind)).get("href"), str)
        },
    }


def catalog_row(item: dict[str, Any]) -> dict[str, object]:
    """Return a ``DESCRIBED_SCHEMA`` row; what the item does not say is absent.

    ``heading_deg`` is the item's ``view:azimuth``, of panoramas that of the middle of the picture.
    An angle of view is that of the longer side of the sensor. Angles of 170 degrees and more are no
    perspective picture, and count as panoramas.

    Args:
        item: From ``trimmed``.
    """
    properties, exif = item["properties"], item["properties"]["exif"]
    lens = _dict(properties.get("pers:interior_orientation"))
    is_pano = _is_pano(lens, exif)
    width, height = _size(lens)
    lon, lat = item["position"][:2]
    name, account = _producer(item)
    row: dict[str, object] = {
        "image_id": item["id"],
        "sequence_id": _text(item.get("collection")),
        "captured_at": _time(properties.get("datetime")),
        "lon": lon,
        "lat": lat,
        "altitude_m": _altitude(exif),
        "heading_deg": _number(properties.get("view:azimuth")),
        "camera_type": "spherical" if is_pano else "perspective",
        "focal_ratio": None if is_pano else _focal_ratio(lens, exif),
        "make": _text(lens.get("camera_manufacturer")),
        "model": _text(lens.get("camera_model")),
        "width": width,
        "height": height,
        "creator": name,
        "creator_id": account,
        "licence": _text(properties.get("license")),
        "is_pano": is_pano,
        "source": "panoramax",
        "status": "listed",
    }
    return row | (_crop(lens) if is_pano else {})


def asset_url(item: dict[str, Any], size_px: int) -> str | None:
    """Return the address of the smallest file that is wide enough, or None if there is none.

    The service makes a thumbnail 500 and a standard picture 2048 pixels wide, whatever the original
    is, so an original that is smaller is taken itself: photos are never enlarged.

    Args:
        item: From ``trimmed``.
        size_px: Width wanted, pixels; 0 for the original.
    """
    lens = _dict(item["properties"].get("pers:interior_orientation"))
    original_px = _size(lens)[0] or math.inf
    sizes = (("thumb", _THUMB_WIDTH_PX), ("sd", _SD_WIDTH_PX), ("hd", math.inf))
    for kind, width_px in sizes:
        url = item["assets"].get(kind)
        enough = kind == "hd" or (size_px and size_px <= width_px <= original_px)
        if url and enough:
            return str(url)
    return None


def _position(item: dict[str, Any]) -> list[float] | None:
    geometry = _dict(item.get("geometry"))
    values = geometry.get("coordinates")
    if geometry.get("type") != "Point" or not isinstance(values, list) or len(values) < 2:
        return None
    lon, lat = _number(values[0]), _number(values[1])
    if lon is None or lat is None or abs(lon) > 180 or abs(lat) > 90:
        return None
    return [lon, lat]


def _is_pano(lens: dict[str, Any], exif: dict[str, Any]) -> bool:
    angle = _number(lens.get("field_of_view"))
    if angle is not None and angle >= _WIDEST_PERSPECTIVE_DEG:
        return True
    return exif.get("Xmp.GPano.ProjectionType") == "equirectangular"


def _size(lens: dict[str, Any]) -> tuple[int | None, int | None]:
    """Return width and height of the file, pixels: the sensor's without what was cut off."""
    values = lens.get("sensor_array_dimensions")
    if not isinstance(values, list) or len(values) != 2:
        return None, None
    width, height = _number(values[0]), _number(values[1])
    if not width or not height or not 1 <= min(width, height) <= max(width, height) < _WIDEST_PX:
        return None, None
    left, top, right, bottom = _margins(lens) or (0.0, 0.0, 0.0, 0.0)
    kept_width, kept_height = int(width - left - right), int(height - top - bottom)
    return (kept_width, kept_height) if kept_width > 0 and kept_height > 0 else (None, None)


def _margins(lens: dict[str, Any]) -> tuple[float, float, float, float] | None:
    """Return what is cut off on the left, top, right and bottom, pixels."""
    area = lens.get("visible_area")
    if not isinstance(area, list) or len(area) != 4:
        return None
    numbers = [_number(value) for value in area]
    if any(number is None or number < 0 for number in numbers):
        return None
    left, top, right, bottom = (float(number or 0.0) for number in numbers)
    return left, top, right, bottom


def _crop(lens: dict[str, Any]) -> dict[str, object]:
    """Return which part of the sphere a cropped panorama shows, as shares of the whole."""
    margins, (width, height) = _margins(lens), _size(lens)
    if margins is None or width is None or height is None:
        return {}
    left, top, right, bottom = margins
    full_width, full_height = width + left + right, height + top + bottom
    return {
        "pano_left": left / full_width,
        "pano_top": top / full_height,
        "pano_width": width / full_width,
        "pano_height": height / full_height,
    }


def _focal_ratio(lens: dict[str, Any], exif: dict[str, Any]) -> float | None:
    film = _rational(exif.get("Exif.Photo.FocalLengthIn35mmFilm"))
    if film:
        return film / _FILM_WIDTH_MM
    angle = _number(lens.get("field_of_view"))
    if angle is None or not 1.0 <= angle < _WIDEST_PERSPECTIVE_DEG:
        return None
    return 0.5 / math.tan(math.radians(angle) / 2.0)


def _altitude(exif: dict[str, Any]) -> float | None:
    value = _rational(exif.get("Exif.GPSInfo.GPSAltitude"))
    below = str(exif.get("Exif.GPSInfo.GPSAltitudeRef", "")).strip() in {"1", "\x01"}
    return None if value is None else -value if below else value


def _producer(item: dict[str, Any]) -> tuple[str | None, str | None]:
    providers = item.get("providers")
    for provider in providers if isinstance(providers, list) else []:
        fields = _dict(provider)
        roles = fields.get("roles")
        if isinstance(roles, list) and "producer" in roles:
            return _text(fields.get("name")), _text(fields.get("id"))
    return _text(item["properties"].get("geovisio:producer")), None


def _time(value: Any) -> datetime | None:  # noqa: ANN401
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _rational(value: Any) -> float | None:  # noqa: ANN401 - EXIF values come as text
    if not isinstance(value, str):
        return _number(value)
    above, _, below = value.strip().partition("/")
    try:
        return _number(float(above) / float(below or 1.0))
    except (ValueError, ZeroDivisionError):
        return None


def _number(value: Any) -> float | None:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _text(value: Any) -> str | None:  # noqa: ANN401
    return str(value) if isinstance(value, str | int) and value != "" else None


def _dict(value: Any) -> dict[str, Any]:  # noqa: ANN401
    return value if isinstance(value, dict) else {}
