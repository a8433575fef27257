"""Images as the graph describes them: one dictionary an image, absent values left out."""

import math
from typing import Any

from citysplat_core.simulation.server.photos import photo_url
from citysplat_core.simulation.server.state import ServerState

_THUMBS = ("256", "1024", "2048", "original")
_PLAIN = {
    "captured_at": int,
    "camera_type": str,
    "compass_angle": float,
    "computed_compass_angle": float,
    "altitude": float,
    "computed_altitude": float,
    "quality_score": float,
    "exif_orientation": int,
    "width": int,
    "height": int,
    "is_pano": bool,
    "make": str,
    "model": str,
    "sequence": str,
}
KNOWN_FIELDS = frozenset(
    {*_PLAIN, "id", "geometry", "computed_geometry", "computed_rotation", "camera_parameters"}
    | {"creator", "organization", "merge_cc", "atomic_scale", "mesh", "sfm_cluster", "detections"}
    | {f"thumb_{size}_url" for size in _THUMBS}
)


def entity(state: ServerState, row: int, wanted: list[str]) -> dict[str, Any]:
    """Describe an image.

    Args:
        state: The server.
        row: Row of the image in the world.
        wanted: Names out of ``KNOWN_FIELDS``.

    Returns:
        ``id`` (a string) and the wanted fields that have a value.
    """
    image_id = str(state.world.columns["image_id"][row])
    answer: dict[str, Any] = {}
    for name in wanted:
        value = image_id if name == "id" else _value(state, row, image_id, name)
        if value is not None:
            answer[name] = value
    answer["id"] = image_id
    return answer


def _value(state: ServerState, row: int, image_id: str, name: str) -> Any:  # noqa: ANN401
    columns = state.world.columns
    if name in _PLAIN:
        return _plain(name, columns[name][row])
    if name.startswith("thumb_"):
        return photo_url(state, image_id, name.removeprefix("thumb_").removesuffix("_url"))
    if name in {"geometry", "computed_geometry"}:
        prefix = "computed_" if name.startswith("computed") else ""
        return _point(columns[f"{prefix}lon"][row], columns[f"{prefix}lat"][row])
    if name in {"creator", "organization"}:
        return _owner(columns, row, name)
    return _sfm_value(state, row, image_id, name)


def _owner(columns: dict[str, Any], row: int, name: str) -> dict[str, str] | None:
    number = int(columns[f"{name}_id"][row])
    if name == "creator":
        return {"username": str(columns["creator_username"][row]), "id": str(number)}
    return {"id": str(number)} if number else None


def _sfm_value(state: ServerState, row: int, image_id: str, name: str) -> Any:  # noqa: ANN401
    if name == "camera_parameters":
        return _vector(state.world.columns["camera_parameters"][row])
    if name == "detections" or not state.world.has_sfm[row]:
        return None
    if name == "computed_rotation":
        return _vector(state.world.columns["rotation"][row])
    if name == "merge_cc":
        return 4.546427159383e18  # a float in JSON: the service itself loses its digits
    if name == "atomic_scale":
        return 0.98
    return {"id": image_id, "url": photo_url(state, image_id, name.removesuffix("_cluster"))}


def _plain(name: str, value: Any) -> bool | int | float | str | None:  # noqa: ANN401
    kind = _PLAIN[name]
    if kind is float:
        return float(value) if math.isfinite(value) else None
    if kind is str:
        return str(value) or None
    return bool(value) if kind is bool else int(value)


def _point(lon: float, lat: float) -> dict[str, Any] | None:
    if not (math.isfinite(lon) and math.isfinite(lat)):
        return None
    return {"type": "Point", "coordinates": [float(lon), float(lat)]}


def _vector(values: Any) -> list[float] | None:  # noqa: ANN401
    numbers = [float(v) for v in values]
    return numbers if all(math.isfinite(v) for v in numbers) else None
