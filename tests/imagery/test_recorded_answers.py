"""Answers that the real service gave, as recorded by others."""

import json

import numpy as np
import pandas as pd
import pyogrio
import pytest

from citysplat_core.errors import DiscoveryError
from citysplat_core.imagery.mapillary.decode import decode_tile, positions_of
from citysplat_core.imagery.mapillary.entities import catalog_row
from citysplat_core.imagery.mapillary.verdict import Verdict, judge
from citysplat_core.imagery.services.http import Answer
from citysplat_core.imagery.tables import DESCRIBED_SCHEMA, table_of


def test_a_real_metadata_answer_is_read_whole(real_data):
    path = real_data / "mapillary_v4_curitiba" / "images_response_scrubbed.json"
    entities = json.loads(path.read_bytes())["data"]
    table = table_of([catalog_row(entity) for entity in entities], DESCRIBED_SCHEMA)
    assert table.num_rows == len(entities) == 760
    assert table.column("image_id").to_pylist() == [entity["id"] for entity in entities]
    assert len(set(table.column("sequence_id").to_pylist())) == 23
    rows = table.to_pandas()
    assert rows.lon.between(-49.4, -49.1).all()
    assert set(rows.camera_type.dropna()) <= {"perspective", "fisheye", "spherical"}
    first = rows.iloc[0]
    assert (first.image_id, first.make, first.creator) == (
        "176197977731970", "Imajing", "projevias",
    )  # fmt: skip
    assert first.focal_ratio == pytest.approx(0.57238270275496)
    assert first.captured_at == pd.Timestamp(1556365097000, unit="ms", tz="UTC")


def test_what_real_answers_lack_is_nan_or_null_and_never_zero(real_data):
    path = real_data / "mapillary_v4_curitiba" / "images_response_scrubbed.json"
    entities = json.loads(path.read_bytes())["data"]
    table = table_of([catalog_row(entity) for entity in entities], DESCRIBED_SCHEMA)
    for name, key in (("computed_lon", "computed_geometry"), ("altitude_m", "altitude")):
        lacking = np.array([key not in entity for entity in entities])
        assert (np.isnan(table.column(name).to_numpy()) == lacking).all()


@pytest.mark.parametrize("name", ["135511895288847", "311799370533334", "4235112816526838"])
def test_recorded_entities_are_read(real_data, name):
    folder = real_data / "mapillary_tiles_josm" / "responses" / "graph"
    row = catalog_row(json.loads((folder / f"{name}.json").read_bytes()) | {"id": name})
    assert -109 < row["lon"] < -108
    assert 39 < row["lat"] < 40


@pytest.mark.parametrize(
    ("name", "status", "verdict"),
    [
        ("application_request_limit_reached", 403, Verdict.LIMIT),
        ("internal_server_error", 401, Verdict.TOKEN),
    ],
)
def test_recorded_errors_are_classed(real_data, name, status, verdict):
    folder = real_data / "mapillary_tiles_josm" / "responses" / "graph"
    body = (folder / f"{name}.json").read_bytes()
    answer = Answer(status=status, headers={}, content_type="application/json", body=body)
    assert judge(answer)[0] is verdict


def real_tiles(real_data):
    folder = real_data / "mapillary_tiles_josm" / "responses" / "coverageTiles"
    for path in sorted(folder.rglob("*.mvt")):
        z, x, y = (int(v) for v in (*path.parts[-3:-1], path.stem))
        yield path.read_bytes(), z, x, y


def test_real_tiles_have_the_positions_and_sequences_that_others_read(real_data):
    listed = pd.read_csv(real_data / "mapillary_tiles_josm" / "images_from_mvt.csv")
    total = 0
    for body, z, x, y in real_tiles(real_data):
        _, table = pyogrio.read_arrow(body, layer="image", X=x, Y=y, Z=z)
        lon, lat = positions_of(table)
        mine = listed[listed.tile == f"{z}/{x}/{y}"]
        assert len(lon) == len(mine)
        np.testing.assert_allclose(np.sort(lon), np.sort(mine.lon), atol=1e-6)
        np.testing.assert_allclose(np.sort(lat), np.sort(mine.lat), atol=1e-6)
        assert set(table.column("sequence_id").to_pylist()) == set(mine.sequence_id)
        total += len(lon)
    assert total == len(listed) > 50_000


def test_tiles_with_blanked_ids_are_refused_and_not_numbered_by_feature(real_data):
    for tile in real_tiles(real_data):
        with pytest.raises(DiscoveryError, match="ids of type string"):
            decode_tile(*tile)
