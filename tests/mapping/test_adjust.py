"""Boxes adjusted with their fringes: nearer to the truth, resumed after a kill, taken over."""

import json
import shutil

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.errors import MappingError
from citysplat_core.geography import CityFrame
from citysplat_core.mapping import (
    adjust,
    adjusted,
    align_city,
    load_city_models,
    read_aligned,
    read_registered,
    solve_box,
)
from citysplat_core.settings import AlignSettings, MappingSettings
from citysplat_core.storage import no_progress, sha256_of

FRAME = CityFrame(13.0, 55.0, 10.0)
PLACE = ["east_m", "north_m", "up_m"]


def align(artifacts, models, root, *, progress=no_progress, earlier=None, **settings):
    out, work = root / "out", root / "work"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    work.mkdir(exist_ok=True)
    report = align_city(
        sparse_models=models,
        plan_images=artifacts.plan_images,
        frame=FRAME,
        out=out,
        work=work,
        settings=AlignSettings(**settings),
        n_threads=1,
        progress=progress,
        earlier=earlier,
    )
    return out, report


def bend(folder, bow_m):
    """Bow a solved box sideways, its photos and points alike, as a street without loops bends."""
    model = pycolmap.Reconstruction(folder / "components" / "0")
    centers = np.array([model.image(i).projection_center() for i in model.reg_image_ids()])
    low, high = centers[:, 0].min(), centers[:, 0].max()

    def moved(place):
        share = np.clip((place[0] - low) / (high - low), 0, 1)
        return place + np.array([0, bow_m * share**2, 0])

    rows = pd.read_parquet(folder / "images.parquet")
    for i in model.reg_image_ids():
        pose = model.image(i).cam_from_world()
        new = pycolmap.Rigid3d(pose.rotation, -pose.rotation.matrix() @ moved(
            model.image(i).projection_center()))  # fmt: skip
        model.frame(model.image(i).frame_id).set_cam_from_world(model.image(i).camera_id, new)
        here = rows["colmap_id"] == i
        rows.loc[here, ["tx", "ty", "tz"]] = new.translation
        rows.loc[here, PLACE] = new.inverse().translation
    for point in model.points3D.values():
        point.xyz = moved(point.xyz)
    model.write(folder / "components" / "0")
    rows.to_parquet(folder / "images.parquet")


@pytest.fixture(scope="module")
def city(tmp_path_factory, make_street, artifact_writer):
    """Three boxes along a street; the one in the middle is bowed by a metre."""
    root = tmp_path_factory.mktemp("adjusted_city")
    street = make_street(n_photos=48, corners=((0, 0), (90, 0), (130, 30)), gps_noise_m=0.3)
    artifacts = artifact_writer(root, street, n_boxes=3, n_fringe=8)
    models = {}
    for box in artifacts.boxes:
        models[box], work = root / "models" / box, root / "work" / box
        models[box].mkdir(parents=True)
        work.mkdir(parents=True)
        solve_box(
            box, **artifacts.inputs(box), out=models[box], work=work, settings=MappingSettings(),
            n_threads=1, progress=no_progress,
        )  # fmt: skip
    bend(models["031"], 1.0)
    rigid, _ = align(artifacts, models, root / "rigid", adjust=False)
    out, report = align(artifacts, models, root / "adjusted")
    return artifacts, models, rigid, out, report


def errors_of(artifacts, out):
    """How far near photos are from where they stand to each other, metres."""
    cameras = read_aligned(out).sort_values("colmap_id")
    off = cameras[PLACE].to_numpy() - artifacts.street.centers
    near = [(i, j) for i in range(48) for j in range(i + 1, min(i + 20, 48))]
    return np.array([np.linalg.norm(off[i] - off[j]) for i, j in near])


def test_a_bent_box_is_straightened_by_its_neighbours(city):
    artifacts, _, rigid, out, report = city
    assert np.median(errors_of(artifacts, out)) < 0.7 * np.median(errors_of(artifacts, rigid))
    counts = report.counts
    assert counts["n_adjusted_boxes"] == 3
    assert counts["seam_after_median_m"] < 0.8 * counts["seam_aligned_median_m"]
    told = json.loads((out / "report.json").read_text())["adjusted"]
    assert [row["box"] for row in told] == ["030", "031", "032"]
    assert all(row["kept_points_share"] > 0.8 and not row["refused"] for row in told)


def test_the_models_of_a_box_stand_where_its_cameras_do(city):
    _, models, _, out, _ = city
    aligned = read_aligned(out).set_index("colmap_id")
    for box, folder in models.items():
        (model,) = load_city_models(box, folder, out).values()
        assert set(model.reg_image_ids()) == set(read_registered(folder)["colmap_id"])
        home = aligned[aligned["solved_in"] == box]
        for i, there in home[PLACE].iterrows():
            assert model.image(i).projection_center() == pytest.approx(there.to_numpy(), abs=1e-6)
        assert model.num_points3D() > 100
        assert model.compute_mean_reprojection_error() < 1.0


def test_without_adjustment_models_are_moved_only(city):
    _, models, rigid, _, _ = city
    aligned = read_aligned(rigid).set_index("colmap_id")
    (model,) = load_city_models("031", models["031"], rigid).values()
    plain = pycolmap.Reconstruction(models["031"] / "components" / "0")
    assert model.num_points3D() == plain.num_points3D()
    for i, there in aligned.loc[aligned["solved_in"] == "031", PLACE].iterrows():
        assert model.image(i).projection_center() == pytest.approx(there.to_numpy(), abs=1e-6)


def test_a_lens_that_a_small_model_bent_is_put_right(city, tmp_path):
    _, models, _, out, _ = city
    told = json.loads((out / "adjusted/031.json").read_text())
    lens = told["lenses"]["7"]
    copy = shutil.copytree(out, tmp_path / "out")
    told["lenses"]["7"] = [lens[0] * 1.05, *lens[1:]]
    (copy / "adjusted/031.json").write_text(json.dumps(told))
    (model,) = load_city_models("031", models["031"], copy).values()
    assert model.camera(7).focal_length == pytest.approx(lens[0] * 1.05)


def test_a_component_that_was_solved_again_is_only_moved(city, tmp_path, caplog):
    _, models, _, out, _ = city
    copy = shutil.copytree(models["031"], tmp_path / "031")
    rows = pd.read_parquet(copy / "images.parquet")
    rows.loc[rows["component"] == 0, "tx"] += 0.01
    rows.to_parquet(copy / "images.parquet")
    (model,) = load_city_models("031", copy, out).values()
    plain = pycolmap.Reconstruction(copy / "components" / "0")
    assert model.num_points3D() == plain.num_points3D()
    assert "solved again after it was adjusted" in caplog.text


def test_a_killed_adjustment_goes_on_with_the_next_box(city, tmp_path, monkeypatch):
    artifacts, models, _, whole, _ = city

    def killed(done, _total, note):
        if done == 2 and note.startswith("adjusting"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        align(artifacts, models, tmp_path, progress=killed)
    calls = []
    real = adjust.adjust_jointly
    monkeypatch.setattr(
        adjust, "adjust_jointly", lambda model, **more: (calls.append(1), real(model, **more))
    )
    out, _ = align(artifacts, models, tmp_path)
    assert len(calls) == 1
    assert read_aligned(out)[PLACE].to_numpy() == pytest.approx(
        read_aligned(whole)[PLACE].to_numpy(), abs=1e-6
    )


def test_a_kill_while_tables_are_written_leaves_nothing_to_trip_over(city, tmp_path, monkeypatch):
    artifacts, models, _, whole, _ = city
    kept = tmp_path / "work" / "adjusting"
    shutil.copytree(whole / "adjusted", kept)
    told = kept / "030.json"
    told.write_text(told.read_text().replace('"key": "', '"key": "other'))
    real = adjusted.write_table

    def killed(path, *_):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(adjusted, "write_table", killed)
    with pytest.raises(KeyboardInterrupt):
        align(artifacts, models, tmp_path)
    monkeypatch.setattr(adjusted, "write_table", real)
    _, report = align(artifacts, models, tmp_path)
    assert report.counts["n_adjusted_boxes"] == 3


def with_manifest(out):
    files = {str(p.relative_to(out)): {"sha256": sha256_of(p)}
             for p in out.rglob("*") if p.is_file()}  # fmt: skip
    (out / "manifest.json").write_text(json.dumps({"files": files}))
    return out


def test_what_has_not_moved_is_taken_over_from_the_version_before(city, tmp_path, monkeypatch):
    artifacts, models, _, whole, _ = city
    earlier = with_manifest(shutil.copytree(whole, tmp_path / "earlier"))
    monkeypatch.setattr(adjust, "adjust_jointly", None)  # must not be called
    out, report = align(artifacts, models, tmp_path, earlier=earlier)
    assert report.counts["n_adjusted_boxes"] == 3
    for name in ("adjusted/031.parquet", "adjusted/031.points.parquet"):
        pd.testing.assert_frame_equal(pd.read_parquet(out / name), pd.read_parquet(whole / name))


def test_damaged_or_other_results_are_not_taken_over(city, tmp_path, monkeypatch):
    artifacts, models, _, whole, _ = city
    earlier = with_manifest(shutil.copytree(whole, tmp_path / "earlier"))
    (earlier / "adjusted/030.parquet").write_bytes(b"broken")
    calls = []
    real = adjust.adjust_jointly
    monkeypatch.setattr(
        adjust, "adjust_jointly", lambda model, **more: (calls.append(1), real(model, **more))
    )
    align(artifacts, models, tmp_path / "one", earlier=earlier)
    assert len(calls) == 1
    calls.clear()
    align(artifacts, models, tmp_path / "two", earlier=earlier, adjust_sigma_m=0.5)
    assert len(calls) == 3


def test_an_adjustment_that_loses_points_is_refused_and_the_box_stays(city, tmp_path, monkeypatch):
    artifacts, models, rigid, _, _ = city

    def lose(model, **_):
        for point_id in sorted(model.point3D_ids())[::2]:
            model.delete_point3D(point_id)

    monkeypatch.setattr(adjust, "adjust_jointly", lose)
    out, report = align(artifacts, models, tmp_path)
    assert report.counts["n_adjusted_boxes"] == 0
    told = json.loads((out / "report.json").read_text())["adjusted"]
    assert all("of the points fit" in row["refused"] for row in told)
    assert read_aligned(out)[PLACE].to_numpy() == pytest.approx(
        read_aligned(rigid)[PLACE].to_numpy()
    )
    assert load_city_models("031", models["031"], out)[0].num_points3D() == (
        pycolmap.Reconstruction(models["031"] / "components" / "0").num_points3D()
    )


def test_a_model_that_is_gone_is_named(city, tmp_path):
    artifacts, models, _, _, _ = city
    copy = shutil.copytree(models["031"], tmp_path / "031")
    shutil.rmtree(copy / "components")
    with pytest.raises(MappingError, match="components"):
        align(artifacts, {**models, "031": copy}, tmp_path / "city")


def test_tables_that_cannot_be_read_are_an_error(city, tmp_path):
    _, models, _, out, _ = city
    copy = shutil.copytree(out, tmp_path / "out")
    (copy / "adjusted/031.points.parquet").write_bytes(b"broken")
    with pytest.raises(MappingError, match="Materialize city_alignment again"):
        load_city_models("031", models["031"], copy)
