"""From the graph's description of an image to a row of the catalog."""

from collections.abc import Mapping
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from citysplat_core.imagery.mapillary.entity_columns import catalog_columns
from citysplat_core.imagery.panorama.telling import is_panorama
from citysplat_core.imagery.services.metadata_store import Record
from citysplat_core.imagery.tables import DESCRIBED_SCHEMA, table_of, utc_from_ms

FIELDS = (
    "id,geometry,computed_geometry,altitude,computed_altitude,compass_angle,computed_compass_angle,"
    "computed_rotation,camera_type,camera_parameters,captured_at,sequence,creator,make,model,"
    "width,height,is_pano,quality_score,organization,exif_orientation,merge_cc,atomic_scale"
)
"""What is asked for; addresses of photos are not, because they expire."""

LICENCE = "CC-BY-SA-4.0"
"""The licence of every Mapillary image (SPDX identifier)."""

_FROM_TILES = ("image_id", "sequence_id", "captured_at", "lon", "lat", "is_pano", "on_foot")


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
        "organization_id": _text((entity.get("organization") or {}).get("id")),
        "licence": LICENCE,
        "is_pano": is_panorama(entity),
        "quality_score": _number(entity.get("quality_score")),
        "exif_orientation": entity.get("exif_orientation"),
        "merge_cc": _digits(entity.get("merge_cc")),
        "atomic_scale": _number(entity.get("atomic_scale")),
        "source": "mapillary",
        "status": "listed",
    }


def described_table(found: pa.Table, records: Mapping[str, Record]) -> pa.Table:
    """Return what is known of images, one row each in the order given.

    Args:
        found: ``FOUND_SCHEMA``.
        records: What the ledger holds of them.

    Returns:
        ``DESCRIBED_SCHEMA``; images that are gone or failed keep what the tile says of them.
    """
    known, others, bodies = [], [], []
    for number, image_id in enumerate(found.column("image_id").to_pylist()):
        record = records.get(image_id)
        if record is not None and record.body is not None:
            known.append(number)
            bodies.append(record.body)
        else:
            others.append(number)
    described = _described(bodies, found.column("on_foot").take(pa.array(known, pa.int64())))
    if not others:
        return described
    listed = found.select(_FROM_TILES).take(pa.array(others, pa.int64())).to_pylist()
    rows = [row | _why_not(records.get(row["image_id"])) for row in listed]
    table = pa.concat_tables([described, table_of(rows, DESCRIBED_SCHEMA)])
    return table.take(pc.sort_indices(pa.array(known + others, pa.int64())))


def _described(bodies: list[bytes], on_foot: pa.ChunkedArray) -> pa.Table:
    try:
        table = catalog_columns(bodies, digits=_digits)
    except pa.ArrowInvalid:
        rows = [catalog_row(orjson.loads(body)) for body in bodies]
        table = table_of(rows, DESCRIBED_SCHEMA)
    names = DESCRIBED_SCHEMA.names
    licences = pa.repeat(LICENCE, len(bodies))
    return table.set_column(names.index("on_foot"), "on_foot", on_foot).set_column(
        names.index("licence"), "licence", licences
    )


def _why_not(record: Record | None) -> dict[str, object]:
    if record is not None and record.state == "gone":
        return _status("gone", "deleted at the source")
    return _status("failed", record.error if record is not None else "not asked")


def _status(status: str, reason: str) -> dict[str, object]:
    return {"source": "mapillary", "licence": LICENCE, "status": status, "reason": reason}


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


def _digits(value: Any) -> str | None:  # noqa: ANN401
    """Return a number as text: whole ones with all digits, others as the service wrote them.

    ``merge_cc`` comes as a float of 13 to 16 digits: what the service itself has lost is not made
    up, and no reader may lose more.
    """
    return f"{value:.16g}" if isinstance(value, float) else _text(value)


def _text(value: Any) -> str | None:  # noqa: ANN401
    return None if value in (None, "", "none") else str(value)
