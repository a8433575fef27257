"""The fast way from descriptions to catalog rows gives what the plain way gives."""

import json
from pathlib import Path

import orjson
import pyarrow as pa
import pytest

from citysplat_core.imagery.mapillary.entities import FIELDS, catalog_row, described_table
from citysplat_core.imagery.services.metadata_store import Record
from citysplat_core.imagery.tables import DESCRIBED_SCHEMA, FOUND_SCHEMA, table_of
from citysplat_core.simulation.server import ServerConfig, SyntheticScenes, synthetic_world
from citysplat_core.simulation.server.entities import entity
from citysplat_core.simulation.server.state import ServerState
from citysplat_core.simulation.server.synthetic_world import SyntheticSpec

WHOLE = {
    "id": "94399395803743793",
    "geometry": {"type": "Point", "coordinates": [8.5, 47.3]},
    "computed_geometry": {"type": "Point", "coordinates": [8.5001, 47.3001]},
    "altitude": 410,
    "computed_altitude": 411.5,
    "compass_angle": 12.5,
    "computed_compass_angle": 13,
    "computed_rotation": [1.3, -0.1, 0.2],
    "camera_type": "perspective",
    "camera_parameters": [0.85, -0.001, 0.0002],
    "captured_at": 1_700_000_000_123,
    "sequence": "7nfcwfvjdtphz7yj6zat6a",
    "creator": {"username": "someone", "id": "104214208486349"},
    "make": "none",
    "model": "",
    "width": 4160,
    "height": 3120,
    "is_pano": False,
    "quality_score": 0.75,
    "organization": {"id": "12"},
    "exif_orientation": 1,
    "merge_cc": 4.546427159383e18,
    "atomic_scale": 1,
}
USUAL = [
    WHOLE,
    {"id": "1"},
    WHOLE | {"camera_type": "equirectangular"},
    WHOLE | {"is_pano": True, "camera_parameters": []},
    WHOLE | {"computed_rotation": None, "camera_parameters": [0.8], "creator": None},
    WHOLE | {"captured_at": 10**17, "merge_cc": 4546427159383000001, "geometry": None},
]
UNUSUAL = [
    WHOLE | {"creator": {"username": "someone", "id": 104214208486349}},
    WHOLE | {"altitude": "410.5", "captured_at": 1_700_000_000_123.0},
    WHOLE | {"id": 94399395803743793},
]


def found_of(ids: list[str]) -> pa.Table:
    rows = [
        {"image_id": i, "lon": 1.0, "lat": 2.0, "on_foot": n % 2 == 0} for n, i in enumerate(ids)
    ]
    return table_of(rows, FOUND_SCHEMA)


def slow_table(entities: list[dict[str, object]]) -> pa.Table:
    rows = [catalog_row(e) | {"on_foot": n % 2 == 0} for n, e in enumerate(entities)]
    return table_of(rows, DESCRIBED_SCHEMA)


def fast_table(entities: list[dict[str, object]]) -> pa.Table:
    names = [str(number) for number in range(len(entities))]
    records = {
        n: Record(state="known", body=orjson.dumps(e)) for n, e in zip(names, entities, strict=True)
    }
    return described_table(found_of(names), records)


def assert_same(entities: list[dict[str, object]]) -> None:
    fast, slow = fast_table(entities), slow_table(entities)
    assert fast.schema == slow.schema
    for name in slow.column_names:
        assert repr(fast.column(name).to_pylist()) == repr(slow.column(name).to_pylist()), name


def test_columns_say_what_rows_say() -> None:
    assert_same(USUAL)


@pytest.mark.parametrize("odd", UNUSUAL)
def test_values_of_other_types_are_read_all_the_same(odd: dict[str, object]) -> None:
    assert_same([*USUAL, odd])


def test_columns_say_what_rows_say_of_a_whole_world() -> None:
    world = synthetic_world(SyntheticSpec(n_images=500))
    state = ServerState(world=world, config=ServerConfig(), images=SyntheticScenes())
    assert_same([entity(state, row, FIELDS.split(",")) for row in range(500)])


def test_columns_say_what_rows_say_of_recorded_answers(real_data: Path) -> None:
    files = sorted((real_data / "mapillary_v4_curitiba").rglob("*.json"))
    entities = []
    for file in files:
        value = json.loads(file.read_bytes())
        listed = value.get("data", value) if isinstance(value, dict) else value
        entities += [e for e in (listed if isinstance(listed, list) else []) if "geometry" in e]
    if not entities:
        pytest.skip("no recorded descriptions of images")
    assert_same(entities)


def test_images_that_are_not_described_keep_their_place_and_what_the_tile_says() -> None:
    records = {
        "a": Record(state="gone"),
        "b": Record(state="known", body=orjson.dumps(WHOLE | {"id": "b"})),
        "c": Record(state="failed", error="it broke"),
    }
    table = described_table(found_of(["a", "b", "c", "d"]), records)
    assert table.column("image_id").to_pylist() == ["a", "b", "c", "d"]
    assert table.column("status").to_pylist() == ["gone", "listed", "failed", "failed"]
    assert table.column("reason").to_pylist()[2:] == ["it broke", "not asked"]
    assert table.column("lon").to_pylist() == [1.0, 8.5, 1.0, 1.0]


def test_no_images_give_an_empty_table() -> None:
    assert described_table(found_of([]), {}).schema == DESCRIBED_SCHEMA
