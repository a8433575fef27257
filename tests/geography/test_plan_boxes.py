"""The step that plans: which photos belong to which box and fringe."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pyproj import Geod

from citysplat_core.errors import GeoreferenceError
from citysplat_core.geography import (
    CityFrame,
    box_bounds,
    load_plan,
    quadkey_of,
    tile_of_quadkey,
)
from citysplat_core.geography.plan_boxes import bounds_enu, choose_positions, plan_boxes
from citysplat_core.settings import BoxSettings
from citysplat_core.storage import no_progress

FRAME = CityFrame(13.2, 55.7, 40.0)
SETTINGS = BoxSettings(min_zoom=17, max_zoom=19, max_images=60, fringe_width_m=25.0)
POSITION_COLUMNS = ["computed_lon", "computed_lat", "computed_altitude_m", "computed_heading_deg"]


def catalog_of(n: int = 300, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "image_id": [str(10**15 + i) for i in range(n)],
            "colmap_id": np.arange(1, n + 1, dtype=np.int32),
            "lon": 13.2 + 0.006 * (rng.random(n) - 0.5),
            "lat": 55.7 + 0.003 * (rng.random(n) - 0.5),
            "altitude_m": np.where(rng.random(n) < 0.2, np.nan, 45.0),
            "heading_deg": rng.uniform(0, 360, n),
            "status": "listed",
        }
    )
    for column in POSITION_COLUMNS:
        table[column] = np.nan
    return table


def plan(tmp_path, catalog: pd.DataFrame, settings: BoxSettings = SETTINGS):
    source, out = tmp_path / "catalog", tmp_path / "out"
    source.mkdir(exist_ok=True)
    out.mkdir()
    catalog.to_parquet(source / "catalog.parquet")
    report = plan_boxes(
        source, city="town", frame=FRAME, out=out, settings=settings, progress=no_progress
    )
    return out, report


def distance_to_box(images: pd.DataFrame, key: str) -> np.ndarray:
    west, south, east, north = bounds_enu(key, FRAME)
    dx = np.maximum(np.maximum(west - images["east_m"], images["east_m"] - east), 0)
    dy = np.maximum(np.maximum(south - images["north_m"], images["north_m"] - north), 0)
    return np.hypot(dx, dy).to_numpy()


def test_every_listed_photo_has_one_home_box(tmp_path):
    catalog = catalog_of()
    catalog.loc[:4, "status"] = "failed"
    out, report = plan(tmp_path, catalog)
    images = pd.read_parquet(out / "images.parquet")
    assert sorted(images["image_id"]) == sorted(catalog["image_id"][5:])
    assert images["image_id"].is_unique
    counts = images.groupby("box").size().to_dict()
    assert counts == {b.key: b.n_images for b in load_plan(out / "plan.json").boxes}
    assert report.counts["images"] == 295


def test_fringe_members_stand_near_the_border_on_either_side(tmp_path):
    out, _ = plan(tmp_path, catalog_of())
    images = pd.read_parquet(out / "images.parquet").set_index("image_id")
    members = pd.read_parquet(out / "fringe_images.parquet")
    fringes = load_plan(out / "plan.json").fringes
    assert [f.key for f in fringes] == sorted({f.key for f in fringes})
    assert fringes
    for fringe in fringes:
        assert fringe.a < fringe.b
        assert fringe.key == f"{fringe.a}--{fringe.b}"
        inside = members[members["fringe"] == fringe.key]
        assert len(inside) == fringe.n_images == inside["image_id"].nunique()
        for home, other in ((fringe.a, fringe.b), (fringe.b, fringe.a)):
            own = images[images["box"] == home]
            near = own.index[distance_to_box(own, other) <= SETTINGS.fringe_width_m]
            assert sorted(inside.loc[inside["box"] == home, "image_id"]) == sorted(near)


def test_the_order_of_the_catalog_does_not_change_any_file(tmp_path):
    catalog = catalog_of()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, _ = plan(tmp_path / "a", catalog)
    two, _ = plan(tmp_path / "b", catalog.sample(frac=1, random_state=3))
    for name in ("plan.json", "images.parquet", "fringe_images.parquet", "plan.geojson"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_a_wider_fringe_holds_what_a_narrow_one_held(tmp_path):
    sizes = []
    for width_m in (5.0, 15.0, 40.0):
        folder = tmp_path / str(width_m)
        folder.mkdir()
        out, _ = plan(folder, catalog_of(), SETTINGS.model_copy(update={"fringe_width_m": width_m}))
        members = pd.read_parquet(out / "fringe_images.parquet")
        sizes.append(set(zip(members["fringe"], members["image_id"], strict=True)))
    assert sizes[0] <= sizes[1] <= sizes[2]
    assert len(sizes[0]) < len(sizes[2])


def test_a_single_box_has_no_fringe_and_whole_files(tmp_path):
    catalog = catalog_of(5)
    catalog["lon"], catalog["lat"] = 13.2, 55.7
    out, report = plan(tmp_path, catalog)
    assert (report.counts["boxes"], report.counts["fringes"]) == (1, 0)
    members = pd.read_parquet(out / "fringe_images.parquet")
    assert list(members.columns) == ["fringe", "box", "image_id", "colmap_id"]
    assert members.empty


def test_the_plan_comes_as_a_map_and_as_geojson(tmp_path):
    out, report = plan(tmp_path, catalog_of())
    table = gpd.read_file(out / "plan.geojson")
    boxes = {b.key: b for b in load_plan(out / "plan.json").boxes}
    assert table.crs.to_epsg() == 4326
    assert set(table["key"]) == set(boxes)
    for key, shape in zip(table["key"], table.geometry, strict=True):
        np.testing.assert_allclose(shape.bounds, box_bounds(key), atol=1e-6)
    with Image.open(out / "map.png") as picture:
        assert len(set(picture.convert("RGB").resize((100, 90)).get_flattened_data())) > 10
    assert report.previews


def test_the_plan_file_is_json_without_nan(tmp_path):
    out, _ = plan(tmp_path, catalog_of())
    json.loads((out / "plan.json").read_text(), parse_constant=pytest.fail)


def test_a_solved_position_is_preferred_and_gps_on_request():
    catalog = catalog_of(3)
    catalog.loc[0, ["computed_lon", "computed_lat", "computed_heading_deg"]] = [13.21, 55.71, 90.0]
    for position, lon, source, heading in (
        ("computed", 13.21, "computed", 90.0),
        ("gps", catalog.loc[0, "lon"], "gps", catalog.loc[0, "heading_deg"]),
    ):
        found = choose_positions(catalog, FRAME, BoxSettings(position=position))
        assert found.loc[0, "lon"] == lon
        assert found.loc[0, "position_source"] == source
        assert found.loc[0, "heading_deg"] == heading
        assert list(found["position_source"][1:]) == ["gps", "gps"]


def test_a_photo_with_only_a_solved_position_is_used_even_when_gps_is_asked_for():
    catalog = catalog_of(2)
    catalog.loc[0, ["lon", "lat"]] = np.nan
    catalog.loc[0, ["computed_lon", "computed_lat"]] = [13.21, 55.71]
    found = choose_positions(catalog, FRAME, BoxSettings(position="gps"))
    assert list(found["position_source"]) == ["computed", "gps"]


def test_a_missing_altitude_is_missing_and_a_photo_without_position_is_left_out():
    catalog = catalog_of(3)
    catalog.loc[0, "altitude_m"] = np.nan
    catalog.loc[1, ["lon", "lat"]] = np.nan
    found = choose_positions(catalog, FRAME, SETTINGS)
    assert list(found["colmap_id"]) == [1, 3]
    assert np.isnan(found.loc[0, "up_m"])
    assert np.isfinite(found.loc[1, "up_m"])


def test_a_catalog_without_any_position_is_one_clear_error(tmp_path):
    catalog = catalog_of(4)
    catalog[["lon", "lat"]] = np.nan
    with pytest.raises(GeoreferenceError, match="none of 4 listed photos has a position"):
        plan(tmp_path, catalog)


def test_box_bounds_in_metres_meet_without_gap_and_are_true_to_scale():
    zoom, x, y = tile_of_quadkey("1202200132031201")
    west_deg, south_deg, east_deg, north_deg = box_bounds("1202200132031201")
    middle = (west_deg + east_deg) / 2, (south_deg + north_deg) / 2
    frame = CityFrame(*middle, 0.0)
    west, south, east, _ = bounds_enu("1202200132031201", frame)
    east_of_it, south_of_it = quadkey_of(zoom, x + 1, y), quadkey_of(zoom, x, y + 1)
    assert bounds_enu(east_of_it, frame)[0] == pytest.approx(east, abs=0.02)
    assert bounds_enu(south_of_it, frame)[3] == pytest.approx(south, abs=0.02)
    along_the_ground = Geod(ellps="WGS84").inv(west_deg, middle[1], east_deg, middle[1])[2]
    assert east - west == pytest.approx(along_the_ground, rel=1e-5)
