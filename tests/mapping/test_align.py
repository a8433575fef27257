import json

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.errors import MappingError
from citysplat_core.geography import CityFrame
from citysplat_core.mapping import (
    align_city,
    read_aligned,
    read_registered,
    read_transforms,
    solve_box,
)
from citysplat_core.mapping.tables import CAMERA_SCHEMA, FRINGE_SCHEMA, pose_of
from citysplat_core.settings import AlignSettings, MappingSettings
from citysplat_core.storage import no_progress

FRAME = CityFrame(13.0, 55.0, 10.0)


def align(artifacts, models, out):
    return align_city(
        sparse_models=models,
        plan_images=artifacts.plan_images,
        frame=FRAME,
        out=out,
        work=out,
        settings=AlignSettings(adjust=False),
        n_threads=1,
        progress=no_progress,
    )


def solve_all(artifacts, root):
    models = {}
    for box in artifacts.boxes:
        out, work = root / "models" / box, root / "work" / box
        out.mkdir(parents=True)
        work.mkdir(parents=True)
        solve_box(
            box,
            **artifacts.inputs(box),
            out=out,
            work=work,
            settings=MappingSettings(),
            n_threads=1,
            progress=no_progress,
        )
        models[box] = out
    return models


@pytest.fixture(scope="module")
def city(tmp_path_factory, make_street, artifact_writer):
    """Three boxes along a bent street, each box with a GPS bias of its own."""
    root = tmp_path_factory.mktemp("city")
    street = make_street(n_photos=48, corners=((0, 0), (90, 0), (130, 30)), gps_noise_m=0.5)
    street.gps[:16, :2] += (1.5, -2.0)
    street.gps[32:, :2] += (-1.0, 2.5)
    artifacts = artifact_writer(root, street, n_boxes=3)
    models = solve_all(artifacts, root)
    out = root / "aligned"
    out.mkdir()
    report = align(artifacts, models, out)
    return artifacts, models, out, report


def test_seams_close(city):
    _, _, out, report = city
    fringes = pd.read_parquet(out / "fringes.parquet")
    tied = fringes[fringes["state"] == "tied"]
    assert set(tied["fringe"]) >= {"030--031", "031--032"}
    assert report.counts["seam_before_median_m"] > 0.4
    assert report.counts["seam_after_median_m"] < 0.15 * report.counts["seam_before_median_m"]
    assert (tied["after_m"] < tied["before_m"]).all()


def test_scale_does_not_collapse(city):
    _, _, out, _ = city
    scales = [sim.scale for sim in read_transforms(out).values()]
    assert scales == pytest.approx([1.0] * 3, abs=0.05)


def test_every_registered_photo_has_one_camera_from_its_home_box(city):
    _, _, out, report = city
    cameras = read_aligned(out)
    assert cameras["colmap_id"].is_unique
    assert report.counts["n_images"] == len(cameras) == 48
    assert (cameras["box"] == cameras["solved_in"]).all()
    assert list(cameras.columns) == CAMERA_SCHEMA.names
    back = FRAME.enu(cameras["lon"], cameras["lat"], cameras["alt_m"])
    assert back == pytest.approx(cameras[["east_m", "north_m", "up_m"]].to_numpy(), abs=1e-6)


def test_transforms_reproduce_the_cameras(city):
    _, models, out, _ = city
    sims = read_transforms(out)
    aligned = read_aligned(out).set_index("colmap_id")
    for row in read_registered(models["031"]).itertuples(index=False):
        there = aligned.loc[row.colmap_id]
        if there.solved_in != "031":
            continue
        moved = sims["031", row.component].transform_camera_world(pose_of(row))
        assert moved.inverse().translation == pytest.approx(
            there[["east_m", "north_m", "up_m"]].to_numpy(float), abs=1e-6
        )
        assert moved.rotation.angle_to(pose_of(there).rotation) < 1e-6


def test_the_shape_of_the_whole_street_is_true(city):
    artifacts, _, out, _ = city
    cameras = read_aligned(out).sort_values("colmap_id")
    solved = cameras[["east_m", "north_m", "up_m"]].to_numpy()
    sim = pycolmap.estimate_sim3d(solved, artifacts.street.centers)
    moved = np.array([sim * point for point in solved])
    assert np.median(np.linalg.norm(moved - artifacts.street.centers, axis=1)) < 0.5


def test_a_photo_lost_at_home_is_taken_from_the_neighbour(city, tmp_path):
    artifacts, models, _, _ = city
    lost = int(read_registered(models["030"])["colmap_id"].max())
    home = artifacts.street.ids[15]
    images = pd.read_parquet(models["030"] / "images.parquet")
    images.loc[images["colmap_id"] == home, "component"] = -1
    changed = tmp_path / "030"
    changed.mkdir()
    images.to_parquet(changed / "images.parquet")
    for name in ("components.parquet", "overlaps.parquet"):
        (changed / name).write_bytes((models["030"] / name).read_bytes())
    out = tmp_path / "out"
    out.mkdir()
    align(artifacts, {**models, "030": changed}, out)
    row = read_aligned(out).set_index("colmap_id").loc[home]
    assert (row.box, row.solved_in) == ("030", "031")
    assert lost != home


def test_an_isolated_box_stays_on_gps(city, tmp_path):
    artifacts, models, _, _ = city
    out = tmp_path / "out"
    out.mkdir()
    report = align(artifacts, {"030": models["030"], "032": models["032"]}, out)
    for sim in read_transforms(out).values():
        assert sim.matrix() == pytest.approx(np.eye(4)[:3], abs=1e-9)
    assert report.counts["n_groups"] == 2
    states = pd.read_parquet(out / "fringes.parquet").set_index("fringe")["state"]
    assert states["030--031"] == "not solved"


def test_a_city_without_models_is_skipped_whole(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street(n_photos=2))
    models = solve_all(artifacts, fresh("s"))
    out = fresh("out")
    report = align(artifacts, models, out)
    assert report.skipped == "no box has an accepted component"
    assert list(pd.read_parquet(out / "cameras.parquet").columns) == CAMERA_SCHEMA.names
    assert list(pd.read_parquet(out / "fringes.parquet").columns) == FRINGE_SCHEMA.names
    assert json.loads((out / "transforms.json").read_text())["components"] == []


def test_a_missing_model_is_an_error(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street(n_photos=2))
    with pytest.raises(MappingError, match=r"components\.parquet does not exist"):
        align(artifacts, {"030": fresh("nothing")}, fresh("out"))


def align_with(models, plan, out):
    plan.to_parquet(out.parent / "plan_of_this_test.parquet")
    return align_city(
        sparse_models=models,
        plan_images=out.parent / "plan_of_this_test.parquet",
        frame=FRAME,
        out=out,
        work=out,
        settings=AlignSettings(adjust=False),
        n_threads=1,
        progress=no_progress,
    )


def test_a_position_wrong_by_a_kilometre_moves_no_box_and_is_named(city, fresh):
    artifacts, models, whole, _ = city
    plan = pd.read_parquet(artifacts.plan_images)
    wrong = artifacts.street.ids[20]
    plan.loc[plan["colmap_id"] == wrong, "east_m"] += 1000.0
    out = fresh("wrong")
    report = align_with(models, plan, out)
    names = ["east_m", "north_m", "up_m"]
    moved = read_aligned(out)[names].to_numpy() - read_aligned(whole)[names].to_numpy()
    assert np.linalg.norm(moved, axis=1).max() < 0.5
    told = json.loads((out / "report.json").read_text())
    assert [p["image_id"] for p in told["position_contradicted"]] == [f"photo{wrong}"]
    assert report.counts["extent_m"] == pytest.approx(report.counts["gps_extent_m"], rel=0.1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_that_are_not_finite_stop_no_alignment(city, fresh, value):
    artifacts, models, _, _ = city
    plan = pd.read_parquet(artifacts.plan_images)
    plan.loc[plan["colmap_id"].isin(artifacts.street.ids[5:40]), ["east_m", "north_m"]] = value
    out = fresh("bad")
    report = align_with(models, plan, out)
    cameras = read_aligned(out)
    assert len(cameras) == 48
    assert np.isfinite(cameras[["east_m", "north_m", "up_m"]].to_numpy()).all()
    assert "NaN" not in (out / "report.json").read_text()
    assert report.counts["seam_after_median_m"] < 0.5


def test_the_report_tells_each_box(city):
    _, _, out, report = city
    told = json.loads((out / "report.json").read_text())["boxes"]
    assert [row["box"] for row in told] == ["030", "031", "032"]
    assert sum(row["n_planned"] for row in told) == report.counts["n_planned"] == 48
    assert all(row["registered_share"] == 1.0 for row in told)
    assert report.counts["registered_share"] == 1.0


def test_shared_photos_are_drawn(city):
    _, _, out, report = city
    assert report.previews["Shared photos"] == out / "seams.png"
    assert (out / "seams.png").read_bytes().startswith(b"\x89PNG")
    assert report.counts["n_apart_fringes"] == 0
