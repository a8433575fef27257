"""From the graph's description of an image to a row of the catalog."""

from typing import Any

from citysplat_core.imagery.tables import utc_from_ms

FIELDS = (
    "id,geometry,computed_geometry,altitude,computed_altitude,compass_angle,computed_compass_angle,"
    "computed_rotation,camera_type,camera_parameters,captured_at,sequence,creator,make,model,"
    "width,height,is_pano,quality_score"
)
"""What is asked for; addresses of photos are not, because they expire."""


def catalog_row(entity: dict[str, Any]) -> dict[str, object]:
    """Return a ``DESCRIBED_SCHEMA`` row; what the answer does not have is None.

    Args:
        entity: The graph's answer for one image, from live or recorded data.
    """
    lon, lat = _point(entity.get("geometry"))
    computed_lon, computed_lat = _point(entity.get("computed_geometry"))
    focal, k1, k2 = _numbers(entity.get("camera_parameters"))
    rotation = _numbers(entity.get("computed_rotation"))
    creator = entity.get("creator") or {}
    captured_at = entity.get("captured_at")
    camera_type = entity.get("camera_type")
    return {
        "image_id": str(entity["id"]),
        "sequence_id": _text(entity.get("sequence")),
        "captured_at": utc_from_ms(None if captured_at is None else int(captured_at)),
        "lon": lon,
        "lat": lat,
        "altitude_m": _number(entity.get("altitude")),
        "computed_lon": computed_lon,
        "computed_lat": computed_lat,
        "computed_altitude_m": _number(entity.get("computed_altitude")),
        "heading_deg": _number(entity.get("compass_angle")),
        "computed_heading_deg": _number(entity.get("computed_compass_angle")),
        "rotation_x": rotation[0],
        "rotation_y": rotation[1],
        "rotation_z": rotation[2],
        "camera_type": "spherical" if camera_type == "equirectangular" else camera_type,
        "focal_ratio": focal,
        "k1": k1,
        "k2": k2,
        "make": _text(entity.get("make")),
        "model": _text(entity.get("model")),
        "width": entity.get("width"),
        "height": entity.get("height"),
        "creator": _text(creator.get("username")),
        "creator_id": _text(creator.get("id")),
        "is_pano": _is_pano(entity),
        "quality_score": _number(entity.get("quality_score")),
        "source": "mapillary",
        "status": "listed",
    }


def _is_pano(entity: dict[str, Any]) -> bool:
    if "is_pano" in entity:
        return bool(entity["is_pano"])
    return entity.get("camera_type") in {"spherical", "equirectangular"}


def _point(geometry: Any) -> tuple[float | None, float | None]:  # noqa: ANN401
    if not isinstance(geometry, dict):
        return None, None
    lon, lat = geometry["coordinates"][:2]
    return float(lon), float(lat)


def _numbers(values: Any) -> tuple[float | None, float | None, float | None]:  # noqa: ANN401
    if not isinstance(values, list) or not values:
        return None, None, None
    padded = [*values, None, None][:3]
    first, second, third = (_number(v) for v in padded)
    return first, second, third


def _number(value: Any) -> float | None:  # noqa: ANN401
    return None if value is None else float(value)


def _text(value: Any) -> str | None:  # noqa: ANN401
    return None if value in (None, "", "none") else str(value)
