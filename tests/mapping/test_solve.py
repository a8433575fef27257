import json
import shutil

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.errors import MappingError
from citysplat_core.mapping import read_components, read_images, read_registered, solve_box
from citysplat_core.mapping.strategy import AUTO
from citysplat_core.mapping.tables import COMPONENT_SCHEMA, IMAGE_SCHEMA
from citysplat_core.settings import MappingSettings
from citysplat_core.storage import no_progress


def solve(artifacts, fresh, box="030", *, progress=no_progress, **settings):
    out, work = fresh(f"out{box}"), fresh(f"work{box}")
    report = solve_box(
        box,
        **artifacts.inputs(box),
        out=out,
        work=work,
        settings=MappingSettings(**settings),
        n_threads=1,
        progress=progress,
    )
    return report, out


def true_errors_m(street, rows):
    true = dict(zip(street.ids, street.centers, strict=True))
    solved = rows[["east_m", "north_m", "up_m"]].to_numpy()
    return np.linalg.norm(solved - np.array([true[i] for i in rows["colmap_id"]]), axis=1)


@pytest.mark.parametrize(
    "strategy", ["incremental", "geographic", "global", "hierarchical", "auto"]
)
def test_a_clean_street_is_registered_within_a_metre(make_street, make_artifacts, fresh, strategy):
    street = make_street(corners=((0, 0), (60, 0), (75, 25)))
    report, out = solve(make_artifacts(street), fresh, strategy=strategy)
    rows = read_registered(out)
    assert not report.skipped
    assert (true_errors_m(street, rows) < 1.0).sum() >= 0.95 * street.n_photos
    assert report.counts["n_registered"] == len(rows)
    assert report.counts["strategy"] == ("incremental" if strategy == "auto" else strategy)


def test_the_artifact_keeps_the_contract(make_street, make_artifacts, fresh):
    street = make_street()
    report, out = solve(make_artifacts(street), fresh)
    images, components = read_images(out), read_components(out)
    assert list(images.columns) == IMAGE_SCHEMA.names
    assert list(components.columns) == COMPONENT_SCHEMA.names
    model = pycolmap.Reconstruction(out / "components" / "0")
    row = read_registered(out).iloc[3]
    assert model.image(int(row.colmap_id)).name == f"{row.image_id}.jpg"
    assert model.image(int(row.colmap_id)).projection_center() == pytest.approx(
        row[["east_m", "north_m", "up_m"]].to_numpy(float)
    )
    assert components["extent_m"][0] == pytest.approx(components["gps_extent_m"][0], rel=0.05)
    told = json.loads((out / "report.json").read_text())
    assert told["counts"] == report.counts
    assert told["cameras"][0]["is_refined"] is True
    assert (out / "from_above.png").stat().st_size > 5000
    assert (out / "ATTRIBUTION.md").read_text().startswith("# Attribution of the sparse model")


def test_progress_is_told_for_every_photo(make_street, make_artifacts, fresh):
    told = []
    solve(make_artifacts(make_street()), fresh, progress=lambda *row: told.append(row))
    assert len(told) > 20
    assert all(done <= total for done, total, _ in told)


def test_neighbours_fringe_photos_are_solved_along(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street(), n_boxes=2)
    _, out = solve(artifacts, fresh)
    rows = read_registered(out)
    assert rows["is_home"].sum() == 15
    assert (~rows["is_home"]).sum() >= 5


def test_neighbours_that_no_pair_ties_to_the_box_stay_away(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street(), n_boxes=2)
    shutil.rmtree(artifacts.fringe_matches["030--031"])
    (artifacts.root / "fringe_matches" / "030--031").mkdir()
    report, out = solve(artifacts, fresh)
    guests = read_images(out).query("not is_home")
    assert len(guests) == 6
    assert set(guests["state"]) == {"unconnected"}
    assert report.counts["n_connected"] == 15


def test_a_gps_position_wrong_by_a_kilometre_costs_nothing(make_street, make_artifacts, fresh):
    street = make_street()
    street.gps[9, :2] += (700, 700)
    _, out = solve(make_artifacts(street), fresh)
    rows = read_registered(out)
    assert (true_errors_m(street, rows) < 1.0).all()
    row = rows[rows["colmap_id"] == street.ids[9]].iloc[0]
    assert row.gps_residual_m > 900  # its partners vouch for it; the residual is told


def test_missing_heights_are_no_obstacle(make_street, make_artifacts, fresh):
    report, out = solve(make_artifacts(make_street(has_altitude=False)), fresh)
    assert report.counts["n_registered"] == 30
    assert np.isfinite(read_registered(out)["up_m"]).all()


def assert_empty_but_whole(report, out, reason):
    assert reason in report.skipped
    assert (read_images(out)["component"] == -1).all()
    assert not list(out.glob("components/*"))
    assert list(pd.read_parquet(out / "components.parquet").columns) == COMPONENT_SCHEMA.names
    assert list(pd.read_parquet(out / "overlaps.parquet").columns) == IMAGE_SCHEMA.names
    assert json.loads((out / "report.json").read_text())["skipped"] == report.skipped
    assert (out / "from_above.png").is_file()


def test_a_box_of_two_photos_is_skipped(make_street, make_artifacts, fresh):
    report, out = solve(make_artifacts(make_street(n_photos=2)), fresh)
    assert_empty_but_whole(report, out, "2 photos: a sparse model needs at least 3")


def test_photos_without_a_verified_pair_are_skipped(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street(n_photos=8))
    shutil.rmtree(artifacts.box_matches["030"])
    artifacts.street.write_database(
        artifacts.box_matches["030"] / "matches.db", list(range(8)), pairs=[]
    )
    report, out = solve(artifacts, fresh)
    assert_empty_but_whole(report, out, "none of its 8 photos has a verified pair")


def test_photos_at_one_point_are_refused_with_a_reason(make_street, make_artifacts, fresh):
    street = make_street(n_photos=14, corners=((0, 0), (40, 0)))
    street.gps[:] = (3.0, 4.0, 2.0)
    report, out = solve(make_artifacts(street), fresh, strategy="incremental")
    assert_empty_but_whole(report, out, "all 14 GPS positions lie within 0.0 m")
    assert set(read_images(out)["state"]) == {"refused"}


def test_a_model_that_contradicts_gps_is_refused(make_street, make_artifacts, fresh):
    street = make_street(n_photos=20)
    rng = np.random.default_rng(5)
    street.gps[:, :2] = street.gps[rng.permutation(20), :2]
    report, out = solve(make_artifacts(street), fresh)
    assert report.skipped.startswith("no component is accepted")
    assert report.counts["n_registered"] == 0
    told = json.loads((out / "report.json").read_text())
    assert {a["strategy"] for a in told["attempts"]} == set(AUTO)


def test_a_second_run_takes_up_what_was_solved(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street())
    first, out = solve(artifacts, fresh)
    shutil.rmtree(artifacts.box_matches["030"])  # nothing is read or solved again
    again = fresh("again")
    report = solve_box(
        "030",
        **artifacts.inputs("030"),
        out=again,
        work=out.parent / "work030",
        settings=MappingSettings(),
        n_threads=1,
        progress=no_progress,
    )
    assert report.counts == first.counts
    pd.testing.assert_frame_equal(read_images(again), read_images(out))


def test_a_mapper_killed_half_way_starts_anew(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street())
    work = fresh("work")
    (work / "incremental" / "0").mkdir(parents=True)
    (work / "incremental" / "0" / "cameras.bin").write_bytes(b"half")
    (work / "workspace.part").write_bytes(b"half")
    report = solve_box(
        "030",
        **artifacts.inputs("030"),
        out=fresh("out"),
        work=work,
        settings=MappingSettings(),
        n_threads=1,
        progress=no_progress,
    )
    assert report.counts["n_registered"] == 30


def test_missing_neighbour_photos_are_an_error(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street(), n_boxes=2)
    inputs = artifacts.inputs("030") | {"box_images": {"030": artifacts.box_images["030"]}}
    with pytest.raises(MappingError, match=r"Box 030: the photos of \['031'\] are not given"):
        solve_box(
            "030",
            **inputs,
            out=fresh("o"),
            work=fresh("w"),
            settings=MappingSettings(),
            n_threads=1,
            progress=no_progress,
        )


@pytest.mark.parametrize("strategy", ["incremental", "geographic", "global"])
def test_known_lenses_are_kept_to_the_last_digit(make_street, make_artifacts, fresh, strategy):
    artifacts = make_artifacts(make_street())
    _, out = solve(artifacts, fresh, strategy=strategy, min_refine_images=99)
    camera = pycolmap.Reconstruction(out / "components" / "0").cameras[7]
    assert camera.params.tolist() == artifacts.street.cameras()["params"][0]
    told = json.loads((out / "report.json").read_text())
    assert told["cameras"][0]["is_refined"] is False


@pytest.mark.parametrize("strategy", ["incremental", "geographic", "global"])
def test_a_guessed_focal_length_is_corrected(make_street, make_artifacts, fresh, strategy):
    street = make_street(corners=((0, 0), (60, 0), (60, 40)), focal_guess=1.3)
    _, out = solve(make_artifacts(street), fresh, strategy=strategy)
    camera = pycolmap.Reconstruction(out / "components" / "0").cameras[7]
    assert camera.params[0] == pytest.approx(450, rel=0.03)
