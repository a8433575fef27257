"""Poses and models, read back by other readers."""

import json

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pycolmap
import pyogrio
import pytest
from click.testing import CliRunner

from citysplat_core.city.exports import export_part
from citysplat_core.cli import main
from citysplat_core.errors import ConfigError, MappingError, StorageError
from citysplat_core.imagery.attribution import attribution_text
from citysplat_core.imagery.tables import utc_from_ms
from citysplat_core.mapping import align_city, read_aligned, read_registered, solve_box
from citysplat_core.mapping.poses_export import POSE_SCHEMA
from citysplat_core.settings import AlignSettings, MappingSettings, load_city
from citysplat_core.storage import ArtifactStore, StepReport, no_progress

TOML = """
name = "Pose town"
area = "12.99,54.99,13.01,55.01"
[frame]
origin_lon = 13.0
origin_lat = 55.0
origin_alt_m = 10.0
"""
BOXES = ("030", "031")


def produce(store, asset, box, build, inputs=None):
    return store.produce(
        asset, box, step_version="1", settings={}, inputs=inputs or {}, build=build
    )


def photos_of(artifacts, box):
    def build(out, _work):
        (out / "photos").mkdir()
        (out / "masks").mkdir()
        for table in ("images.parquet", "cameras.parquet"):
            (out / table).write_bytes((artifacts.box_images[box] / table).read_bytes())
        for image_id in pd.read_parquet(out / "images.parquet")["image_id"]:
            cv2.imwrite(str(out / "photos" / f"{image_id}.jpg"), np.full((48, 64, 3), 90, np.uint8))
        mask = np.full((48, 64), 255, np.uint8)
        cv2.imwrite(str(out / "masks" / f"photo{artifacts.street.ids[0]}.jpg.png"), mask)
        return StepReport(counts={})

    return build


@pytest.fixture(scope="module")
def city(tmp_path_factory, make_street, artifact_writer):
    """Two solved and aligned boxes of one street, as a city on disk."""
    root = tmp_path_factory.mktemp("city")
    street = make_street(n_photos=30, corners=((0, 0), (60, 0), (75, 25)), gps_noise_m=0.5)
    artifacts = artifact_writer(root / "parts", street, 2)
    for folder in artifacts.box_images.values():
        (folder / "ATTRIBUTION.md").write_text(
            attribution_text([{"source": "mapillary", "creator": "bob", "image_id": "1"}])
        )
    (root / "city.toml").write_text(TOML)
    city, store = load_city(root), ArtifactStore(root)

    def plan(out, _work):
        pd.read_parquet(artifacts.plan_images).to_parquet(out / "images.parquet")
        return StepReport(counts={})

    def catalog(out, _work):
        rows = pd.DataFrame({"image_id": [f"photo{i}" for i in street.ids]})
        rows["captured_at"] = [utc_from_ms(1_700_000_000_123 + i) for i in street.ids]
        rows = rows.assign(sequence_id="s", creator="bob", creator_id="7", source="mapillary")
        rows = rows.assign(licence="CC-BY-SA-4.0", status="listed")
        pq.write_table(pa.Table.from_pandas(rows), out / "catalog.parquet")
        return StepReport(counts={})

    def model(box):
        return lambda out, work: solve_box(
            box,
            **artifacts.inputs(box),
            out=out,
            work=work,
            settings=MappingSettings(strategy="incremental"),
            n_threads=1,
            progress=no_progress,
        )

    produce(store, "box_plan", "", plan)
    produce(store, "image_catalog", "", catalog)
    for box in BOXES:
        produce(store, "box_images", box, photos_of(artifacts, box))
    models = {box: produce(store, "sparse_model", box, model(box)) for box in BOXES}
    produce(
        store,
        "city_alignment",
        "",
        lambda out, work: align_city(
            sparse_models={box: m.path for box, m in models.items()},
            plan_images=artifacts.plan_images,
            frame=city.frame(),
            out=out,
            work=work,
            settings=AlignSettings(),
            n_threads=1,
            progress=no_progress,
        ),
        {box: m.version for box, m in models.items()},
    )
    return city, store, street


def export(city, what, out, **options):
    return export_part(city[0], what, out, progress=no_progress, **options)


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "csv", "parquet"])
def test_poses_are_read_by_another_reader(city, tmp_path, ending):
    out = tmp_path / f"poses.{ending}"
    assert export(city, "poses", out) == "30 poses"
    if ending == "parquet":
        table = pd.read_parquet(out)
    elif ending == "csv":
        table = pd.read_csv(out, dtype={"image_id": str, "box": str})
    else:
        table = pyogrio.read_dataframe(out)
        assert table.crs.to_epsg() == 4326
        np.testing.assert_allclose(table.geometry.x, table["lon"], atol=1e-8)
    assert table["image_id"].tolist() == [f"photo{i}" for i in city[2].ids]
    assert set(POSE_SCHEMA.names) <= set(table.columns)
    assert set(table["creator"]) == {"bob"}
    assert "bob" in (tmp_path / "ATTRIBUTION.md").read_text()


def test_a_pose_says_where_the_photo_was_taken_and_where_it_looks(city, tmp_path):
    out = tmp_path / "poses.geojson"
    export(city, "poses", out)
    told = [f["properties"] for f in json.loads(out.read_text())["features"]]
    street = city[2]
    solved = (
        city[0].frame().enu(*(np.array([p[n] for p in told]) for n in ("lon", "lat", "height_m")))
    )
    off = np.linalg.norm(solved - street.centers, axis=1)
    assert (off[:, None] < [[2.0]]).all()
    truth = [pose.rotation.matrix() for pose in street.poses]
    heading = np.array([np.degrees(np.arctan2(r[2, 0], r[2, 1])) for r in truth])
    turned = (np.array([p["heading_deg"] for p in told]) - heading + 180) % 360 - 180
    assert np.abs(turned).max() < 2.0
    pitch = np.array([np.degrees(np.arcsin(r[2, 2])) for r in truth])
    assert np.abs([p["pitch_deg"] for p in told] - pitch).max() < 1.5
    roll = np.array([np.degrees(np.arctan2(-r[0, 2], -r[1, 2])) for r in truth])
    assert np.abs([p["roll_deg"] for p in told] - roll).max() < 1.5
    claimed = np.array([p["accuracy_horizontal_m"] for p in told])
    assert (np.hypot(*(solved - street.centers)[:, :2].T) < claimed).mean() > 0.63
    assert (claimed > 2.0).all()  # one sequence: its shared error cannot be seen


def test_a_catalog_of_another_version_is_told(city, tmp_path):
    file = city[1].need("image_catalog").path / "catalog.parquet"
    kept = file.read_bytes()
    pq.write_table(pq.read_table(file).drop_columns(["licence"]), file)
    try:
        with pytest.raises(StorageError, match=r"catalog\.parquet lacks licence"):
            export(city, "poses", tmp_path / "p.csv")
    finally:
        file.write_bytes(kept)


def test_poses_of_a_box_are_those_of_its_own_photos(city, tmp_path):
    assert export(city, "poses", tmp_path / "a.csv", box="031") == "15 poses"
    assert set(pd.read_csv(tmp_path / "a.csv", dtype={"box": str})["box"]) == {"031"}
    with pytest.raises(MappingError, match=r"Box 0777: the plan has no such box"):
        export(city, "poses", tmp_path / "b.csv", box="0777")


@pytest.mark.parametrize("what", ["colmap", "colmap-text"])
def test_colmap_reads_the_model_back_where_the_alignment_put_it(city, tmp_path, what):
    out = tmp_path / "model"
    assert export(city, what, out, box="030") == "1 components of box 030"
    model = pycolmap.Reconstruction()
    read = model.read_text if what == "colmap-text" else model.read_binary
    read(out / "sparse" / "0")
    aligned = read_aligned(city[1].need("city_alignment").path).set_index("colmap_id")
    for image_id in model.reg_image_ids():
        row = aligned.loc[image_id]
        assert (out / "images" / model.image(image_id).name).is_file()
        if row.solved_in == "030":
            place = row[["east_m", "north_m", "up_m"]].to_numpy(float)
            assert model.image(image_id).projection_center() == pytest.approx(place, abs=1e-6)
    own = pycolmap.Reconstruction(city[1].need("sparse_model", "030").path / "components" / "0")
    assert model.num_points3D() == own.num_points3D()
    assert model.compute_mean_reprojection_error() == pytest.approx(
        own.compute_mean_reprojection_error(), rel=0.02
    )
    points = pycolmap.Reconstruction()
    points.import_PLY(out / "sparse" / "0" / "points.ply")
    assert points.num_points3D() == model.num_points3D()
    assert "bob" in (out / "ATTRIBUTION.md").read_text()
    assert json.loads((out / "export.json").read_text())["is_aligned"] is True


def project(frame, point):
    """Project with nerfstudio's convention: camera looks along -z, y is up."""
    x, y, z = np.linalg.inv(frame["transform_matrix"])[:3] @ [*point, 1.0]
    u, v = x / -z, -y / -z
    bent = 1 + frame["k1"] * (u * u + v * v) + frame.get("k2", 0.0) * (u * u + v * v) ** 2
    return np.array(
        [frame["fl_x"] * u * bent + frame["cx"], frame["fl_y"] * v * bent + frame["cy"]]
    )


def test_nerfstudios_transforms_project_points_onto_their_observations(city, tmp_path):
    out = tmp_path / "nerf"
    export(city, "nerfstudio", out, box="030")
    value = json.loads((out / "transforms.json").read_text())
    frames = {f["colmap_im_id"]: f for f in value["frames"]}
    moved = np.array(value["applied_transform"])
    export(city, "colmap", tmp_path / "model", box="030")
    model = pycolmap.Reconstruction(tmp_path / "model" / "sparse" / "0")
    assert set(frames) == set(model.reg_image_ids())
    off = []
    for point in list(model.points3D.values())[::7]:
        place = moved @ [*point.xyz, 1.0]
        for element in point.track.elements:
            seen = model.image(element.image_id).points2D[element.point2D_idx].xy
            off.append(np.linalg.norm(project(frames[element.image_id], place) - seen))
    assert np.median(off) < 1.0
    assert np.mean(off) == pytest.approx(model.compute_mean_reprojection_error(), rel=0.2)
    first = frames[city[2].ids[0]]
    assert first["mask_path"] == f"masks/photo{city[2].ids[0]}.jpg.png"
    assert all((out / f["file_path"]).is_file() for f in frames.values())
    head = (out / "sparse_pc.ply").read_bytes().split(b"end_header\n")
    assert f"element vertex {model.num_points3D()}".encode() in head[0]
    assert len(head[1]) == 15 * model.num_points3D()


def test_an_alignment_of_another_version_is_not_applied_and_said(city, tmp_path):
    store = city[1]
    manifest = store.need("city_alignment").path / "manifest.json"
    whole = manifest.read_text()
    value = json.loads(whole)
    value["inputs"]["030"] = "another"
    manifest.write_text(json.dumps(value))
    try:
        written = export(city, "colmap", tmp_path / "m", box="030", with_photos=False)
    finally:
        manifest.write_text(whole)
    assert "another version" in written
    model = pycolmap.Reconstruction(tmp_path / "m" / "sparse" / "0")
    own = read_registered(store.need("sparse_model", "030").path).iloc[0]
    center = model.image(int(own.colmap_id)).projection_center()
    assert center == pytest.approx(own[["east_m", "north_m", "up_m"]].to_numpy(float), abs=1e-9)
    assert not (tmp_path / "m" / "images").exists()


def test_only_an_earlier_export_is_replaced(city, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ConfigError, match="is there already"):
            export(city, "colmap", mine, box="030", overwrite=overwrite)
    assert (mine / "thesis.txt").read_text() == "mine"
    export(city, "colmap", tmp_path / "m", box="030", with_photos=False)
    export(city, "nerfstudio", tmp_path / "m", box="030", with_photos=False, overwrite=True)
    assert not (tmp_path / "m" / "sparse").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m", "mine"]


def test_options_that_do_not_fit_are_told(city, tmp_path):
    with pytest.raises(ConfigError, match="--what colmap without a box"):
        export(city, "colmap", tmp_path / "m")
    with pytest.raises(ConfigError, match="--box with --what boxes"):
        export(city, "boxes", tmp_path / "b.csv", box="030")
    with pytest.raises(StorageError, match="no sparse_model"):
        export(city, "nerfstudio", tmp_path / "m", box="0777")


def test_the_command_exports_poses_and_models(city, tmp_path):
    root, run = str(city[0].root), CliRunner().invoke
    done = run(main, ["export", root, "--what", "poses", "--out", str(tmp_path / "p.gpkg")])
    assert done.exit_code == 0, done.output
    assert "Wrote 30 poses" in done.output
    model = ["export", root, "--what", "nerfstudio", "--out", str(tmp_path / "n"), "--no-photos"]
    done = run(main, [*model, "--box", "031"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "n" / "transforms.json").is_file()
    wrong = run(main, model)
    assert wrong.exit_code == 2
    assert "--box KEY" in wrong.output


def test_missing_photos_are_told_and_can_be_left_out(city, tmp_path):
    store = city[1]
    photo = store.need("box_images", "030").path / "photos" / f"photo{city[2].ids[2]}.jpg"
    kept = photo.read_bytes()
    photo.unlink()
    try:
        with pytest.raises(MappingError, match=r"1 of \d+ photos are not on this disk"):
            export(city, "colmap", tmp_path / "m", box="030")
        assert list(tmp_path.iterdir()) == []
        export(city, "colmap", tmp_path / "m", box="030", with_photos=False)
    finally:
        photo.write_bytes(kept)
