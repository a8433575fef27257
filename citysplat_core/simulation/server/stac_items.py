"""Photos as Panoramax describes them: STAC items, absent values left out."""

import math
import uuid
from datetime import UTC, datetime
from typing import Any

from citysplat_core.simulation.server.state import ServerState

_PREFIX = uuid.UUID("c1717591-a700-4000-0000-000000000000").int
_MASK = 2**64 - 1
_SEQUENCES = uuid.UUID("c1717591-a700-4000-8000-000000000001")


def picture_id(image_id: int) -> str:
    """Return the UUID under which Panoramax's API lists an image of the world."""
    return str(uuid.UUID(int=_PREFIX | image_id))


def image_id_of(text: str) -> str | None:
    """Return the world's image id of a picture's UUID, or None if it can be none."""
    try:
        number = uuid.UUID(text).int
    except ValueError:
        return None
    return str(number & _MASK) if number & ~_MASK == _PREFIX else None


def stac_item(state: ServerState, row: int) -> dict[str, Any]:
    """Describe an image as an item of the API's version 2.15.

    Args:
        state: The server.
        row: Row of the image in the world.
    """
    columns = state.world.columns
    name = picture_id(int(columns["image_id"][row]))
    base = f"{state.base_url}/api"
    collection = str(uuid.uuid5(_SEQUENCES, str(columns["sequence"][row])))
    place = [float(columns["lon"][row]), float(columns["lat"][row])]
    producer = str(columns["creator_username"][row])
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": {"type": "Point", "coordinates": place},
        "bbox": place + place,
        "collection": collection,
        "providers": [
            {
                "name": producer,
                "roles": ["producer"],
                "id": _account(int(columns["creator_id"][row])),
            }
        ],
        "properties": _properties(state, row, producer),
        "links": [
            {"rel": "collection", "href": f"{base}/collections/{collection}"},
            {"rel": "self", "href": f"{base}/collections/{collection}/items/{name}"},
        ],
        "assets": {
            kind: {
                "href": f"{base}/pictures/{name}/{kind}.jpg",
                "type": "image/jpeg",
                "roles": [role],
            }
            for kind, role in (("hd", "data"), ("sd", "visual"), ("thumb", "thumbnail"))
        },
    }


def _account(creator_id: int) -> str:
    return str(uuid.UUID(int=_PREFIX | creator_id))


def _properties(state: ServerState, row: int, producer: str) -> dict[str, Any]:
    columns = state.world.columns
    captured = datetime.fromtimestamp(int(columns["captured_at"][row]) / 1000.0, UTC)
    properties: dict[str, Any] = {
        "datetime": captured.isoformat(),
        "license": state.config.stac_licence,
        "geovisio:producer": producer,
        "geovisio:status": "ready",
        "exif": _exif(columns, row),
        "pers:interior_orientation": _lens(columns, row),
    }
    compass = float(columns["compass_angle"][row])
    if math.isfinite(compass):
        properties["view:azimuth"] = round(compass) % 360
    return properties


def _lens(columns: dict[str, Any], row: int) -> dict[str, Any]:
    lens: dict[str, Any] = {
        "camera_manufacturer": str(columns["make"][row]),
        "camera_model": str(columns["model"][row]),
        "sensor_array_dimensions": [int(columns["width"][row]), int(columns["height"][row])],
    }
    focal_ratio = float(columns["camera_parameters"][row][0])
    if bool(columns["is_pano"][row]):
        lens["field_of_view"] = 360
    elif math.isfinite(focal_ratio):
        lens["field_of_view"] = round(math.degrees(2.0 * math.atan(0.5 / focal_ratio)))
    return {name: value for name, value in lens.items() if value not in ("", [0, 0])}


def _exif(columns: dict[str, Any], row: int) -> dict[str, str]:
    altitude = float(columns["altitude"][row])
    if not math.isfinite(altitude):
        return {}
    below = "1" if altitude < 0 else "0"
    rational = f"{round(abs(altitude) * 1000)}/1000"
    return {"Exif.GPSInfo.GPSAltitude": rational, "Exif.GPSInfo.GPSAltitudeRef": below}
