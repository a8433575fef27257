"""The published city: what is owned, what is written, what is refused."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from citysplat_core.city import BoxInputs, build_city
from citysplat_core.city.gaussians import read_spz, read_spz_header
from citysplat_core.errors import ViewerError
from citysplat_core.geography import CityFrame
from citysplat_core.settings import TilesSettings

FRAME = CityFrame(13.4, 52.5, 40.0)


def build(tiny_city, folder, **changes):
    arguments = {
        "plan": tiny_city.plan,
        "boxes": tiny_city.boxes,
        "alignment": tiny_city.alignment,
        "frame": FRAME,
        "settings": TilesSettings(),
    }
    out, work = folder / "out", folder / "work"
    out.mkdir(parents=True)
    work.mkdir(exist_ok=True)
    report = build_city(**{**arguments, **changes}, out=out, work=work)
    return out, report


@pytest.fixture(scope="session")
def built(tiny_city, tmp_path_factory):
    return build(tiny_city, tmp_path_factory.mktemp("built"))


def city_of(out):
    return json.loads((out / "city.json").read_text())


def box_of(out, key):
    return next(box for box in city_of(out)["boxes"] if box["key"] == key)


def is_colour(spz, index):
    return (spz.sh0.argmax(axis=1) == index) & (np.ptp(spz.sh0, axis=1) > 0.5)


def test_the_city_file_has_every_planned_box_with_its_state(tiny_city, built):
    city = city_of(built[0])
    assert city["version"] == 1
    assert city["name"] == "Tinytown"
    assert city["origin"] == {"lon": 13.4, "lat": 52.5, "alt_m": 40.0}
    states = {box["key"]: (box["state"], box["reason"]) for box in city["boxes"]}
    assert states == {
        tiny_city.west: ("done", ""),
        tiny_city.east: ("done", ""),
        tiny_city.failed: ("failed", "2 of 40 photos registered"),
        tiny_city.missing: ("missing", ""),
    }
    west = box_of(built[0], tiny_city.west)
    assert (west["n_images"], west["n_registered"], west["psnr_db"]) == (4, 3, 23.46)
    assert set(west["neighbours"]) == {tiny_city.east, tiny_city.failed, tiny_city.missing}
    assert box_of(built[0], tiny_city.missing)["splat"] is None
    assert box_of(built[0], tiny_city.missing)["start"] is None


def test_the_bounds_hold_every_box(built):
    city = city_of(built[0])
    west, south, east, north = city["bounds"]
    assert all(west <= b["west"] and b["east"] <= east for b in city["boxes"])
    assert all(south <= b["south"] and b["north"] <= north for b in city["boxes"])


def test_a_wall_across_the_border_is_published_once(tiny_city, built):
    out, _ = built
    columns = []
    for key in (tiny_city.west, tiny_city.east):
        splat = box_of(out, key)["splat"]
        read = read_spz(out / splat["url"])
        green = read.means[is_colour(read, 1) & (read.means[:, 2] > -1.05)]
        columns.append(np.round(green + np.array(splat["origin_enu_m"]), 2))
    both = np.concatenate(columns)
    step = np.round(np.unique(both[:, 0]), 2)
    assert all(len(part) > 200 for part in columns)
    assert len(both) == len(np.unique(both, axis=0)) == len(step) * len(np.unique(both[:, 2]))
    assert columns[0][:, 0].max() < columns[1][:, 0].min()


def test_the_counts_add_up_to_all_gaussians(tiny_city, built):
    counts = built[1].counts
    trained = sum(
        json.loads((box.splat / "scene.json").read_text())["n_gaussians"]
        for box in tiny_city.boxes.values()
        if box.splat
    )
    kinds = ("owned", "environment", "left", "pruned")
    assert sum(counts[f"gaussians_{kind}"] for kind in kinds) == trained
    assert counts["gaussians_pruned"] == 10
    assert counts["gaussians_left"] > 400
    assert (counts["boxes"], counts["boxes_done"], counts["boxes_failed"]) == (4, 2, 1)


def test_the_sky_is_a_file_of_its_own(tiny_city, built):
    splat = box_of(built[0], tiny_city.west)["splat"]
    assert splat["environment"]["n_gaussians"] >= 2
    sky = read_spz(built[0] / splat["environment"]["url"])
    assert sky.means[:, 2].max() == pytest.approx(300, abs=0.01)
    assert read_spz(built[0] / splat["url"]).means[:, 2].max() < 150
    assert box_of(built[0], tiny_city.east)["splat"]["environment"] is None


def test_a_published_file_reads_back_as_what_was_trained(tiny_city, built):
    out, _ = built
    splat = box_of(out, tiny_city.west)["splat"]
    head = read_spz_header(out / splat["url"])
    assert (head.version, head.n_gaussians, head.sh_degree) == (3, splat["n_gaussians"], 1)
    assert (out / splat["url"]).stat().st_size == splat["size_bytes"]
    read = read_spz(out / splat["url"])
    assert len(read) == splat["n_gaussians"]
    red = read.means[is_colour(read, 0)] + np.array(splat["origin_enu_m"])
    low, high = tiny_city.red_wall_enu.min(axis=0), tiny_city.red_wall_enu.max(axis=0)
    assert np.allclose(red.min(axis=0), low, atol=0.13)
    assert np.allclose(red.max(axis=0), high, atol=0.13)
    assert np.allclose(np.exp(read.scales[is_colour(read, 0)]), 0.12, rtol=0.05)


def test_the_same_inputs_give_the_same_bytes(tiny_city, built, tmp_path):
    again, _ = build(tiny_city, tmp_path)
    files = sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(built[0]) for p in built[0].rglob("*") if p.is_file())
    assert all((again / name).read_bytes() == (built[0] / name).read_bytes() for name in files)


def test_a_killed_run_keeps_its_finished_boxes(tiny_city, tmp_path, monkeypatch):
    build(tiny_city, tmp_path)
    (tmp_path / "out").rename(tmp_path / "first")

    def refuse(*_args, **_kwargs):
        raise AssertionError("a finished box was made again")

    monkeypatch.setattr("citysplat_core.city.parts.read_ply", refuse)
    out, _ = build(tiny_city, tmp_path)
    assert box_of(out, tiny_city.west) == box_of(tmp_path / "first", tiny_city.west)


def test_a_visitor_starts_at_a_real_photo_and_looks_into_the_box(tiny_city, built):
    start = box_of(built[0], tiny_city.west)["start"]
    cameras = pd.read_parquet(tiny_city.alignment / "cameras.parquet")
    mine = cameras[cameras["box"] == tiny_city.west]
    places = mine[["east_m", "north_m", "up_m"]].to_numpy()
    gaps = np.linalg.norm(places - start["position_enu_m"], axis=1)
    assert gaps.min() < 0.01
    ahead = np.subtract(start["look_at_enu_m"], start["position_enu_m"])
    assert np.allclose(ahead, (0, 10, 0), atol=0.01)


def test_cameras_are_listed_in_the_order_they_were_taken(tiny_city, built):
    box = box_of(built[0], tiny_city.west)
    cameras = json.loads((built[0] / box["cameras"]).read_text())["cameras"]
    assert [c["image_id"] for c in cameras] == [f"{tiny_city.west}_{i}" for i in (2, 1, 0)]
    assert [c["held_out"] for c in cameras] == [False, True, False]
    assert cameras[0]["fov_y_deg"] == pytest.approx(2 * np.degrees(np.arctan(240 / 400)), abs=0.01)
    assert cameras[0]["aspect"] == pytest.approx(4 / 3, abs=1e-3)


def test_the_map_shows_placed_and_lost_photos(tiny_city, built):
    layer = json.loads((built[0] / "cameras.geojson").read_text())
    by_id = {f["properties"]["image_id"]: f for f in layer["features"]}
    assert len(by_id) == 7
    assert by_id["lost"]["properties"]["registered"] is False
    assert by_id["lost"]["properties"]["heading_deg"] is None
    placed = by_id[f"{tiny_city.west}_0"]
    assert placed["properties"] | {"image_id": ""} == {
        "image_id": "",
        "box": tiny_city.west,
        "heading_deg": 0.0,
        "registered": True,
    }
    solved = pd.read_parquet(tiny_city.alignment / "cameras.parquet").set_index("image_id")
    assert placed["geometry"]["coordinates"][0] == pytest.approx(
        solved.loc[f"{tiny_city.west}_0", "lon"], abs=1e-7
    )


def test_the_map_shows_fringes_with_the_state_of_their_seam(tiny_city, built):
    layer = json.loads((built[0] / "boxes.geojson").read_text())
    kinds = [f["properties"]["kind"] for f in layer["features"]]
    assert (kinds.count("box"), kinds.count("edge"), kinds.count("corner")) == (4, 4, 2)
    seam = f"{min(tiny_city.west, tiny_city.east)}--{max(tiny_city.west, tiny_city.east)}"
    feature = next(f for f in layer["features"] if f["properties"]["key"] == seam)
    assert feature["properties"]["state"] == "ok"
    assert feature["properties"]["after_m"] == 0.04
    (lon_a, lat_a), (lon_b, lat_b) = feature["geometry"]["coordinates"]
    assert lon_a == lon_b
    assert lat_a < lat_b


def test_without_alignment_the_boxes_own_poses_are_used(tiny_city, built, tmp_path):
    out, report = build(tiny_city, tmp_path, alignment=None)
    assert report.counts["registered"] == 6
    west = box_of(out, tiny_city.west)
    assert west["start"] == box_of(built[0], tiny_city.west)["start"]


def test_the_attribution_names_everyone_once(built):
    text = (built[0] / "ATTRIBUTION.md").read_text()
    assert text.startswith("# Attribution of Tinytown\n")
    assert text.count("CC BY-SA 4.0") == 1
    assert "by:\n\n- anna: 3 photos\n- ben: 3 photos\n- zoe: 2 photos\n\nAdapted" in text
    assert "CC BY-SA 4.0" in city_of(built[0])["attribution"]


def test_the_credit_line_can_be_set(tiny_city, tmp_path):
    settings = TilesSettings(attribution="Photos by the town hall", title="Our town")
    out, _ = build(tiny_city, tmp_path, settings=settings)
    city = city_of(out)
    assert (city["attribution"], city["name"]) == ("Photos by the town hall", "Our town")


def test_lower_colour_degrees_are_published_on_request(tiny_city, tmp_path):
    out, _ = build(tiny_city, tmp_path, settings=TilesSettings(sh_degree=0))
    assert read_spz_header(out / box_of(out, tiny_city.west)["splat"]["url"]).sh_degree == 0


def test_a_done_box_without_a_splat_is_refused(tiny_city, tmp_path):
    bad = {tiny_city.west: replace(tiny_city.boxes[tiny_city.west], splat=None)}
    with pytest.raises(ViewerError, match=rf"Box {tiny_city.west}: .*has no splat artifact"):
        build(tiny_city, tmp_path, boxes=bad)


def test_a_box_outside_the_plan_is_refused(tiny_city, tmp_path):
    bad = {"0123": BoxInputs(key="0123", state="missing")}
    with pytest.raises(ViewerError, match="1 boxes are not in the plan \\(0123\\)"):
        build(tiny_city, tmp_path, boxes=bad)


def test_a_broken_splat_is_named(tiny_city, tmp_path):
    folder = tmp_path / "splat"
    folder.mkdir()
    (folder / "splat.ply").write_bytes(b"ply\nnothing")
    (folder / "scene.json").write_text('{"origin_enu_m": [0, 0, 0]}')
    bad = {tiny_city.west: BoxInputs(key=tiny_city.west, state="done", splat=folder)}
    with pytest.raises(ViewerError, match=rf"Box {tiny_city.west}: splat.ply cannot be read"):
        build(tiny_city, tmp_path / "run", boxes=bad)
    (folder / "scene.json").write_text("{}")
    with pytest.raises(ViewerError, match="no usable origin_enu_m"):
        build(tiny_city, tmp_path / "again", boxes=bad)


def test_a_city_with_nothing_made_yet_is_still_a_map(tiny_city, tmp_path):
    out, report = build(tiny_city, tmp_path, boxes={}, alignment=None)
    assert (report.counts["boxes_missing"], report.counts["gaussians_owned"]) == (4, 0)
    assert {box["state"] for box in city_of(out)["boxes"]} == {"missing"}
    assert len(json.loads((out / "cameras.geojson").read_text())["features"]) == 7
    assert list((out / "splats").iterdir()) == []
