"""Many of the graph's descriptions at once: what ``catalog_row`` says, several times as fast.

A city has a million descriptions, and making Python objects of them costs more than all else: here
Arrow reads them into columns. Descriptions of an unusual form make this fail, never differ.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import json as arrow_json

from citysplat_core.imagery.panorama.telling import SPHERICAL_TYPES
from citysplat_core.imagery.tables import CAPTURED_AT, DESCRIBED_SCHEMA

_POINT = pa.struct([("coordinates", pa.list_(pa.float64()))])
_PERSON = pa.struct([("id", pa.string()), ("username", pa.string())])
_ANSWER = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "sequence", "make", "model", "camera_type")),
        *((name, pa.float64()) for name in ("altitude", "computed_altitude", "compass_angle")),
        *((name, pa.float64()) for name in ("computed_compass_angle", "quality_score")),
        *((name, pa.float64()) for name in ("atomic_scale", "merge_cc")),
        *((name, pa.int32()) for name in ("width", "height", "exif_orientation")),
        *((name, pa.list_(pa.float64())) for name in ("computed_rotation", "camera_parameters")),
        *((name, _POINT) for name in ("geometry", "computed_geometry")),
        *((name, _PERSON) for name in ("creator", "organization")),
        ("captured_at", pa.int64()),
        ("is_pano", pa.bool_()),
    ]
)
_FLOATS = {
    "altitude_m": "altitude",
    "computed_altitude_m": "computed_altitude",
    "heading_deg": "compass_angle",
    "computed_heading_deg": "computed_compass_angle",
    "quality_score": "quality_score",
    "atomic_scale": "atomic_scale",
}
_TEXTS = {"image_id": "id", "sequence_id": "sequence", "make": "make", "model": "model"}
_BLANK = pa.array(["", "none"])
_NO_TEXT = pa.scalar(None, pa.string())
_WHOLE_MERGE_CC = re.compile(rb'"merge_cc":\s*"?\d{16,}[^\d.eE]')
_LAST_MS = 253_402_300_799_999
"""The end of the year 9999, the last that Python's times know."""


def catalog_columns(bodies: Sequence[bytes], *, digits: Callable[[float], str | None]) -> pa.Table:
    """Return the rows that ``catalog_row`` makes of descriptions.

    Args:
        bodies: The graph's answers, one JSON object each, without line ends.
        digits: Writes ``merge_cc``.

    Returns:
        ``DESCRIBED_SCHEMA``, one row a body, in the same order; what neither the body nor the
        service says is blank (``on_foot``, ``licence``).

    Raises:
        ArrowInvalid: A value has another type than Mapillary gives it; read the rows one by one.
    """
    if not bodies:
        return DESCRIBED_SCHEMA.empty_table()
    answers = _read(bodies)
    columns = {ours: _text(answers[theirs]) for ours, theirs in _TEXTS.items()}
    columns |= {ours: _float(answers[theirs]) for ours, theirs in _FLOATS.items()}
    columns |= {name: answers[name] for name in ("width", "height", "exif_orientation")}
    columns["captured_at"] = _time(answers["captured_at"])
    columns |= _places(answers) | _camera(answers) | _owners(answers)
    columns["merge_cc"] = _written(answers["merge_cc"], digits)
    columns["source"] = pa.repeat("mapillary", len(bodies))
    columns["status"] = pa.repeat("listed", len(bodies))
    for field in DESCRIBED_SCHEMA:
        if field.name not in columns:
            blank = float("nan") if pa.types.is_floating(field.type) else None
            columns[field.name] = pa.repeat(pa.scalar(blank, field.type), len(bodies))
    return pa.table(columns).select(DESCRIBED_SCHEMA.names).cast(DESCRIBED_SCHEMA)


def _read(bodies: Sequence[bytes]) -> dict[str, pa.Array]:
    data = b"\n".join(bodies)
    if _WHOLE_MERGE_CC.search(data):
        raise pa.ArrowInvalid("merge_cc is a whole number that a double cannot hold")
    table = arrow_json.read_json(
        pa.BufferReader(data),
        read_options=arrow_json.ReadOptions(use_threads=False),
        parse_options=arrow_json.ParseOptions(
            explicit_schema=_ANSWER, unexpected_field_behavior="ignore"
        ),
    ).combine_chunks()
    if table.num_rows != len(bodies):
        raise pa.ArrowInvalid(f"{table.num_rows} descriptions in {len(bodies)} bodies")
    return {name: table.column(name).chunk(0) for name in table.column_names}


def _places(answers: dict[str, pa.Array]) -> dict[str, pa.Array]:
    place = _first(pc.struct_field(answers["geometry"], "coordinates"), 2)
    computed = _first(pc.struct_field(answers["computed_geometry"], "coordinates"), 2)
    turn = _first(answers["computed_rotation"], 3)
    names = ("lon", "lat", "computed_lon", "computed_lat", "rotation_x", "rotation_y", "rotation_z")
    return dict(zip(names, [*place, *computed, *turn], strict=True))


def _camera(answers: dict[str, pa.Array]) -> dict[str, pa.Array]:
    kind = answers["camera_type"]
    is_sphere = pc.is_in(kind, pa.array(sorted(SPHERICAL_TYPES)))
    lens = _first(answers["camera_parameters"], 3)
    return {
        "camera_type": pc.if_else(is_sphere, pa.scalar("spherical"), kind),
        "is_pano": pc.or_(is_sphere, pc.fill_null(answers["is_pano"], False)),  # noqa: FBT003
        **dict(zip(("focal_ratio", "k1", "k2"), lens, strict=True)),
    }


def _owners(answers: dict[str, pa.Array]) -> dict[str, pa.Array]:
    return {
        "creator": _text(pc.struct_field(answers["creator"], "username")),
        "creator_id": _text(pc.struct_field(answers["creator"], "id")),
        "organization_id": _text(pc.struct_field(answers["organization"], "id")),
    }


def _first(lists: pa.ListArray, count: int) -> list[NDArray[np.float64]]:
    """Return the first, second, ... numbers of each list; NaN where it has fewer."""
    starts, lengths = lists.offsets.to_numpy()[:-1], np.diff(lists.offsets.to_numpy())
    lengths = np.where(np.asarray(lists.is_valid()), lengths, 0)
    numbers = _float(lists.values).to_numpy()
    columns = []
    for place in range(count):
        column, has = np.full(len(lists), np.nan), lengths > place
        column[has] = numbers[starts[has] + place]
        columns.append(column)
    return columns


def _float(column: pa.Array) -> pa.Array:
    return pc.fill_null(column, float("nan"))


def _written(column: pa.Array, digits: Callable[[float], str | None]) -> pa.Array:
    """Write numbers as texts, each distinct one once: a reconstruction has many images."""
    encoded = column.dictionary_encode()
    texts = pa.array([digits(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return texts.take(encoded.indices)


def _text(column: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_in(column, _BLANK), _NO_TEXT, column)


def _time(column: pa.Array) -> pa.Array:
    possible = pc.less_equal(pc.abs(column), _LAST_MS)
    return pc.if_else(possible, column, pa.scalar(None, pa.int64())).cast(CAPTURED_AT)
