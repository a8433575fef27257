"""Many of the graph's descriptions at once: what ``catalog_row`` says, four times as fast.

A city has a million descriptions and Python costs more than all else, so columns are read one
after the other and not rows. Values of unusual types make the fast way fail, never differ.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from citysplat_core.imagery.panorama.telling import SPHERICAL_TYPES
from citysplat_core.imagery.tables import CAPTURED_AT, DESCRIBED_SCHEMA

Entity = dict[str, Any]

_PLAIN_FLOATS = {
    "altitude_m": "altitude",
    "computed_altitude_m": "computed_altitude",
    "heading_deg": "compass_angle",
    "computed_heading_deg": "computed_compass_angle",
    "quality_score": "quality_score",
    "atomic_scale": "atomic_scale",
}
_PLAIN_INTEGERS = ("width", "height", "exif_orientation")
_PLAIN_TEXTS = {"sequence_id": "sequence", "make": "make", "model": "model"}
_NOWHERE = (None, None)
_NOTHING = (None, None, None)
_NAMELESS: Entity = {}
_BLANK = pa.array(["", "none"])
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999, the last that Python's times know."""

UNUSUAL = (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, KeyError, IndexError, AttributeError)
"""What descriptions with values of other types than Mapillary's raise."""


def catalog_columns(entities: Sequence[Entity], *, digits: Callable[[Any], str | None]) -> pa.Table:
    """Return the rows that ``catalog_row`` makes, except ``on_foot``, which tiles know.

    Args:
        entities: The graph's answers; one without ``id`` is an image that it did not describe.
        digits: Writes ``merge_cc``.

    Returns:
        ``DESCRIBED_SCHEMA``, one row an entity, in the same order.

    Raises:
        Exception: One of ``UNUSUAL``: take the slow way.
    """
    n = len(entities)
    columns: dict[str, pa.Array] = {"image_id": _texts([e.get("id") for e in entities])}
    columns["captured_at"] = _times([e.get("captured_at") for e in entities])
    columns |= {ours: _texts([e.get(key) for e in entities]) for ours, key in _PLAIN_TEXTS.items()}
    columns |= {
        ours: _floats([e.get(key) for e in entities]) for ours, key in _PLAIN_FLOATS.items()
    }
    for key in _PLAIN_INTEGERS:
        columns[key] = pa.array([e.get(key) for e in entities], pa.int32())
    columns |= _geometry(entities) | _camera(entities) | _owners(entities)
    columns["merge_cc"] = pa.array([digits(e.get("merge_cc")) for e in entities], pa.string())
    columns["source"] = pa.repeat("mapillary", n)
    columns["status"] = pa.repeat("listed", n)
    for field in DESCRIBED_SCHEMA:
        if field.name not in columns:
            blank = float("nan") if pa.types.is_floating(field.type) else None
            columns[field.name] = pa.repeat(pa.scalar(blank, field.type), n)
    return pa.table(columns).select(DESCRIBED_SCHEMA.names).cast(DESCRIBED_SCHEMA)


def _geometry(entities: Sequence[Entity]) -> dict[str, pa.Array]:
    columns = {}
    for key, prefix in (("geometry", ""), ("computed_geometry", "computed_")):
        values = [e.get(key) for e in entities]
        places = [v["coordinates"] if isinstance(v, dict) else _NOWHERE for v in values]
        columns[f"{prefix}lon"] = _floats([place[0] for place in places])
        columns[f"{prefix}lat"] = _floats([place[1] for place in places])
    turns = _threes([e.get("computed_rotation") for e in entities])
    for number, name in enumerate(("rotation_x", "rotation_y", "rotation_z")):
        columns[name] = _floats([turn[number] for turn in turns])
    return columns


def _camera(entities: Sequence[Entity]) -> dict[str, pa.Array]:
    columns = {}
    lenses = _threes([e.get("camera_parameters") for e in entities])
    for number, name in enumerate(("focal_ratio", "k1", "k2")):
        columns[name] = _floats([lens[number] for lens in lenses])
    kinds = [e.get("camera_type") for e in entities]
    columns["camera_type"] = pa.array(
        ["spherical" if kind == "equirectangular" else kind for kind in kinds], pa.string()
    )
    columns["is_pano"] = pa.array(
        [
            kind in SPHERICAL_TYPES or bool(e.get("is_pano"))
            for kind, e in zip(kinds, entities, strict=True)
        ]
    )
    return columns


def _owners(entities: Sequence[Entity]) -> dict[str, pa.Array]:
    creators = [e.get("creator") or _NAMELESS for e in entities]
    organizations = [e.get("organization") or _NAMELESS for e in entities]
    return {
        "creator": _texts([c.get("username") for c in creators]),
        "creator_id": _texts([c.get("id") for c in creators]),
        "organization_id": _texts([o.get("id") for o in organizations]),
    }


def _threes(values: list[Any]) -> list[Any]:
    return [
        v if isinstance(v, list) and len(v) >= 3 else (*_listed(v), *_NOTHING)[:3] for v in values
    ]


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - of the service's making
    return value if isinstance(value, list) else []


def _floats(values: list[Any]) -> pa.Array:
    return pc.fill_null(pa.array(values, pa.float64()), float("nan"))


def _texts(values: list[Any]) -> pa.Array:
    texts = pa.array(values, pa.string())
    return pc.if_else(pc.is_in(texts, _BLANK), pa.scalar(None, pa.string()), texts)


def _times(values: list[Any]) -> pa.Array:
    times = pa.array(values, pa.int64())
    possible = pc.less_equal(pc.abs(times), _LAST_MS)
    return pc.if_else(possible, times, pa.scalar(None, pa.int64())).cast(CAPTURED_AT)
