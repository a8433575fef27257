"""Descriptions are cut out of an answer exactly, or not at all."""

import json

import orjson
import pytest

from citysplat_core.imagery.mapillary.raw_entities import cut_out

ENTITIES = [
    {"id": "1", "creator": {"username": "a", "id": "9"}},
    {"id": "2", "geometry": {"type": "Point", "coordinates": [1.5, 2.5]}},
    {"id": "3"},
]


def ids_of(entities: list[dict[str, object]]) -> list[str]:
    return [str(e["id"]) for e in entities]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_description_is_cut_out_as_it_was_written(count: int) -> None:
    part = ENTITIES[:count]
    body = orjson.dumps({"data": part, "paging": {"cursors": {}}})
    assert [orjson.loads(raw) for raw in cut_out(body, ids_of(part))] == part


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"data": ENTITIES}).encode(),
        json.dumps({"data": ENTITIES}, indent=1).encode(),
        orjson.dumps({"data": []}),
        orjson.dumps({"data": [ENTITIES[0], {"id": "2", "make": "a},{b"}, ENTITIES[2]]}),
        orjson.dumps({"data": [ENTITIES[0], ENTITIES[2], ENTITIES[1]]}),
        b"",
    ],
    ids=["spaces", "lines", "empty", "border in a text", "another order", "nothing"],
)
def test_an_answer_in_another_form_is_left_whole(body: bytes) -> None:
    assert cut_out(body, ids_of(ENTITIES)) == []
