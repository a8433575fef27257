"""Exports, read back by other readers."""

import csv
import json
import shutil
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyogrio
import pytest
from click.testing import CliRunner

from citysplat_core.cli import main
from citysplat_core.errors import ConfigError, StorageError
from citysplat_core.geography import CityFrame, load_plan
from citysplat_core.geography.plan_boxes import plan_boxes
from citysplat_core.imagery import export as export_module
from citysplat_core.imagery.export import export_layer
from citysplat_core.imagery.geoparquet import write_points
from citysplat_core.imagery.tables import (
    CATALOG_SCHEMA,
    TILES_SCHEMA,
    table_of,
    utc_from_ms,
    write_table,
)
from citysplat_core.settings import load_city
from citysplat_core.storage import ArtifactStore, StepReport, no_progress

N = 200
FIRST_ID = 2**60 + 1
TOML = """
name = "Export town"
area = "8.53,47.36,8.56,47.39"
[frame]
origin_lon = 8.54
origin_lat = 47.37
[boxes]
min_zoom = 16
max_zoom = 18
max_images = 60
"""


def catalog_rows():
    rng = np.random.default_rng(5)
    for i in range(N):
        unplaced = i == 3
        yield {
            "image_id": str(FIRST_ID + i),
            "colmap_id": i + 1,
            "sequence_id": f"s{i // 20}",
            "captured_at": utc_from_ms(1_700_000_000_123 + i),
            "lon": None if unplaced else 8.54 + 0.006 * rng.random(),
            "lat": None if unplaced else 47.37 + 0.003 * rng.random(),
            "altitude_m": None if i % 5 == 0 else 410.0,
            "heading_deg": 90.0,
            "camera_type": "perspective",
            "creator": 'ann "x", y' if i % 2 else "bob",
            "creator_id": str(2**59 + 1),
            "merge_cc": "4.546427159383e+18",
            "width": 4032,
            "height": 3024,
            "is_pano": False,
            "source": "mapillary",
            "licence": "CC-BY-SA-4.0",
            "status": "failed" if unplaced else "listed",
        }


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    root = tmp_path_factory.mktemp("city")
    (root / "city.toml").write_text(TOML)
    loaded = load_city(root)
    store = ArtifactStore(root)

    def ledger(out, _work):
        states = ["complete", "failed"]
        tiles = [
            {"z": 14, "x": 8580 + i, "y": 5738, "state": state, "n_images": 5, "reason": None}
            for i, state in enumerate(states)
        ]
        write_table(table_of(tiles, TILES_SCHEMA), out / "tiles.parquet")
        return StepReport(counts={})

    def catalog(out, _work):
        rows = table_of(list(catalog_rows()), CATALOG_SCHEMA)
        write_points([rows], CATALOG_SCHEMA, out / "catalog.parquet")
        return StepReport(counts={})

    def plan(out, _work):
        return plan_boxes(
            store.need("image_catalog").path,
            city="Export town",
            frame=CityFrame(8.54, 47.37),
            out=out,
            settings=loaded.settings.boxes,
            progress=no_progress,
        )

    for asset, build in (("tile_ledger", ledger), ("image_catalog", catalog), ("box_plan", plan)):
        store.produce(asset, step_version="1", settings={}, inputs={}, build=build)
    return loaded


def expected():
    return pd.DataFrame(list(catalog_rows()))


def test_a_geopackage_holds_every_photo_with_its_id_as_text(city, tmp_path):
    out = tmp_path / "photos.gpkg"
    assert export_layer(city, "images", out, progress=no_progress) == N
    table = pyogrio.read_dataframe(out, layer="images")
    assert table.crs.to_epsg() == 4326
    assert table["image_id"].tolist() == expected()["image_id"].tolist()
    assert table["creator_id"].unique().tolist() == [str(2**59 + 1)]
    assert table["creator"].tolist() == expected()["creator"].tolist()
    assert table["captured_at"].dt.tz_convert("UTC").iloc[0].value == 1_700_000_000_123 * 10**6
    placed = table[table.geometry.notna()]
    np.testing.assert_allclose(placed.geometry.x, placed["lon"])
    assert table.geometry.isna().sum() == 1
    assert table["altitude_m"].isna().sum() == N // 5


def test_a_csv_keeps_all_digits_for_readers_that_are_told_or_look(city, tmp_path):
    out = tmp_path / "photos.csv"
    export_layer(city, "images", out, progress=no_progress)
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image_id"] for row in rows] == expected()["image_id"].tolist()
    assert rows[1]["creator"] == 'ann "x", y'
    assert rows[0]["altitude_m"] == ""
    frame = pd.read_csv(out, dtype={"image_id": str})
    assert frame["image_id"].tolist() == expected()["image_id"].tolist()
    by_gdal = pyogrio.read_dataframe(out)  # it reads the types that stand beside the file
    assert by_gdal["image_id"].tolist() == expected()["image_id"].tolist()
    assert by_gdal["lon"].dtype == float


def test_geojson_is_json_without_nan_and_with_ids_as_text(city, tmp_path):
    out = tmp_path / "photos.geojson"
    export_layer(city, "images", out, progress=no_progress)
    value = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert [f["properties"]["image_id"] for f in value["features"]] == expected()[
        "image_id"
    ].tolist()
    assert value["features"][0]["properties"]["altitude_m"] is None
    table = gpd.read_file(out)
    placed = table[table.geometry.notna()]
    np.testing.assert_allclose(placed.geometry.x, placed["lon"], atol=1e-8)


@pytest.mark.parametrize("what", ["images", "tiles", "boxes", "fringes"])
def test_geoparquet_is_read_by_geopandas_and_by_gdal(city, tmp_path, what):
    out = tmp_path / f"{what}.parquet"
    n_rows = export_layer(city, what, out, progress=no_progress)
    table = gpd.read_parquet(out)
    assert len(table) == n_rows > 0
    assert table.crs.to_epsg() == 4326
    if "Parquet" in pyogrio.list_drivers():
        assert pyogrio.read_info(out)["features"] == n_rows


def test_tiles_carry_their_state_and_square(city, tmp_path):
    out = tmp_path / "tiles.gpkg"
    export_layer(city, "tiles", out, progress=no_progress)
    table = pyogrio.read_dataframe(out)
    assert table["state"].tolist() == ["complete", "failed"]
    np.testing.assert_allclose(table.geometry.bounds["minx"], table["west"])


def test_boxes_and_fringes_are_those_of_the_plan(city, tmp_path):
    plan = load_plan(ArtifactStore(city.root).need("box_plan").path / "plan.json")
    for what, parts in (("boxes", plan.boxes), ("fringes", plan.fringes)):
        out = tmp_path / f"{what}.gpkg"
        export_layer(city, what, out, progress=no_progress)
        assert pyogrio.read_dataframe(out)["key"].tolist() == [part.key for part in parts]


def test_the_credits_travel_with_every_export(city, tmp_path):
    for what, name in (("images", "a.gpkg"), ("tiles", "b.csv"), ("boxes", "c.geojson")):
        folder = tmp_path / what
        folder.mkdir()
        export_layer(city, what, folder / name, progress=no_progress)
        text = (folder / "ATTRIBUTION.md").read_text()
        assert text.startswith("# Attribution of Export town\n")
        assert f"({N - 1} photos)" in text
        assert "bob" in text
        assert "CC BY-SA 4.0" in text


def test_another_citys_credits_in_the_folder_are_kept(city, tmp_path):
    (tmp_path / "ATTRIBUTION.md").write_text("# Attribution of Elsewhere\n")
    export_layer(city, "boxes", tmp_path / "b.csv", progress=no_progress)
    assert (tmp_path / "ATTRIBUTION.md").read_text() == "# Attribution of Elsewhere\n"
    assert (tmp_path / "ATTRIBUTION-Export-town.md").is_file()


def test_a_file_that_is_there_is_replaced_only_when_told(city, tmp_path):
    out = tmp_path / "boxes.csv"
    out.write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        export_layer(city, "boxes", out, progress=no_progress)
    assert out.read_text() == "mine"
    export_layer(city, "boxes", out, overwrite=True, progress=no_progress)
    assert out.read_text() != "mine"


@pytest.mark.parametrize("ending", ["gpkg", "csv", "geojson", "parquet"])
def test_an_export_that_breaks_off_leaves_nothing_that_looks_whole(
    city, tmp_path, monkeypatch, ending
):
    def breaks(layer, _progress):
        yield next(layer.parts()).slice(0, 10)
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "_told", breaks)
    with pytest.raises((KeyboardInterrupt, StorageError)):
        export_layer(city, "images", tmp_path / f"photos.{ending}", progress=no_progress)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_before_it_is_full(city, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(StorageError, match="are free for"):
        export_layer(city, "images", tmp_path / "a.csv", progress=no_progress)


def test_a_catalog_with_other_columns_is_refused(tmp_path):
    root = tmp_path / "city"
    root.mkdir()
    (root / "city.toml").write_text(TOML)

    def catalog(out, _work):
        rows = table_of(list(catalog_rows()), CATALOG_SCHEMA).drop_columns(["creator"])
        schema = pa.schema([f for f in CATALOG_SCHEMA if f.name != "creator"])
        write_points([rows], schema, out / "catalog.parquet")
        return StepReport(counts={})

    store = ArtifactStore(root)
    store.produce("image_catalog", step_version="1", settings={}, inputs={}, build=catalog)
    with pytest.raises(StorageError, match="creator is missing"):
        export_layer(load_city(root), "images", tmp_path / "a.csv", progress=no_progress)


def test_the_command_exports_and_says_what_to_do_when_it_cannot(city, tmp_path):
    run = CliRunner().invoke
    done = run(main, ["export", str(city.root), "--out", str(tmp_path / "p.gpkg")])
    assert done.exit_code == 0, done.output
    assert f"Wrote {N} images" in done.output
    wrong = run(main, ["export", str(city.root), "--out", str(tmp_path / "p.txt")])
    assert wrong.exit_code == 2
    assert "--format" in wrong.output
    shown = run(main, ["export", "--help"])
    assert "EPSG:4326" in shown.output
    assert "ATTRIBUTION.md" in shown.output
