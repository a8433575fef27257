"""The mapping benchmark measures right, and runs on a tiny town."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.features import read_pair_counts
from citysplat_core.simulation import build_town, plan_captures
from citysplat_core.storage import no_progress

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
KEYS = {
    *("registered_share", "gross_errors", "rel_inside_m", "rel_across_m", "rel_across_p95_m"),
    *("abs_m", "seam_m", "growth_ratio", "rss_growth_ratio", "real", "update_cost_share"),
}


@pytest.fixture(scope="module")
def modules():
    sys.path.insert(0, str(BENCHMARKS))
    import mapping_city
    import mapping_growth
    import mapping_real
    import mapping_score
    import point_town

    yield SimpleNamespace(
        score=mapping_score,
        city=mapping_city,
        growth=mapping_growth,
        real=mapping_real,
        points=point_town,
    )
    sys.path.pop(0)


def street(n=20, step_m=5.0):
    """Give true centres along a bent street."""
    along = np.arange(n) * step_m
    return np.stack([along, 0.02 * along**2 / 10, np.full(n, 1.5)], axis=1)


def solved(modules, centre, component=None):
    n = len(centre)
    component = np.zeros(n, np.int64) if component is None else np.asarray(component)
    return modules.score.Solved(
        colmap_id=np.arange(1, n + 1), component=component, centre=np.asarray(centre, float)
    )


def test_photos_count_as_connectable_from_six_on(modules):
    chain = {(k, k + 1) for k in range(1, 6)}
    assert modules.score.connectable(chain | {(10, 11), (11, 12)}) == {1, 2, 3, 4, 5, 6}
    assert modules.score.connectable(set()) == set()


def test_a_true_pair_needs_true_inliers_and_the_right_turn(modules):
    rows = [(1, 2, 20, 19, 3.0), (1, 3, 20, 14, 3.0), (2, 3, 40, 19, 3.0), (2, 4, 20, 20, 16.0)]
    labels = pd.DataFrame(rows, columns=["a", "b", "n", "n_true", "turn_error_deg"])
    assert modules.score.true_pairs(labels) == {(1, 2)}


def test_a_shift_of_the_city_is_no_relative_error(modules):
    truth = street()
    inside, across = modules.score.relative_errors(
        solved(modules, truth + np.array([3, -2, 1])), truth
    )
    assert inside.max() < 1e-9
    assert len(across) == 0


def test_an_offset_of_a_component_shows_across_and_not_inside(modules):
    truth = street()
    component = np.arange(20) >= 10
    moved = truth + np.where(component[:, None], [0, 0.5, 0], [0, 0, 0])
    inside, across = modules.score.relative_errors(solved(modules, moved, component * 1), truth)
    assert inside.max() < 1e-9
    assert across == pytest.approx(0.5)


def test_a_wrong_scale_is_an_error_inside_and_none_of_shape(modules):
    truth = street()
    larger = solved(modules, truth * 1.1)
    inside, _ = modules.score.relative_errors(larger, truth)
    shape, _ = modules.score.relative_errors(modules.score.shaped(larger, truth), truth)
    assert np.median(inside) > 1
    assert shape.max() < 1e-6


def test_a_photo_far_from_its_neighbours_is_gross_and_spoils_none_of_them(modules):
    truth = street()
    centre = truth + np.array([2, 1, 0])
    centre[7] += [0, 6, 0]
    errors = modules.score.place_errors(solved(modules, centre), truth)
    assert np.flatnonzero(errors > 5).tolist() == [7]
    assert np.delete(errors, 7).max() < 0.5


def test_a_turned_component_has_no_gross_errors_and_a_lone_photo_is_not_judged(modules):
    truth = street()
    turn = np.radians(15)
    spun = truth @ np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0],
                             [0, 0, 1]])  # fmt: skip
    assert np.nanmax(modules.score.place_errors(solved(modules, spun), truth)) < 0.2
    lone = modules.score.place_errors(
        solved(modules, truth[:3], [0, 0, 1]), truth[:3], by_component=True
    )
    assert np.isfinite(lone[:2]).all()
    assert np.isnan(lone[2])


def test_correct_photos_are_counted_after_the_best_similarity_of_each_model(modules):
    truth = street()
    model = truth * 0.3 + [5, 5, 5]
    model[3] += [0, 4, 0]
    cameras = solved(modules, model)
    truth_of = {k + 1: place for k, place in enumerate(truth)}
    assert modules.score.count_correct(cameras, truth_of) == 19
    assert not modules.score.correct_after_similarity(truth[:2], truth[:2]).any()


def test_a_seam_is_measured_once_for_each_photo_and_two_boxes(modules):
    rows = [(1, "a", 0.0), (1, "a", 9.0), (1, "b", 0.3), (2, "a", 0.0), (2, "c", 0.1)]
    table = pd.DataFrame(rows, columns=["colmap_id", "solved_in", "east_m"])
    gaps = modules.score.seam_gaps(table.assign(north_m=0.0, up_m=0.0))
    assert sorted(gaps.tolist()) == pytest.approx([0.1, 0.3])


def test_scores_know_the_share_of_connectable_photos(modules):
    truth = street()
    truth_of = {k + 1: place for k, place in enumerate(truth)}
    cameras = solved(modules, truth[:10] + np.array([1, 0, 0]))
    scores = modules.score.score(cameras, cameras, truth_of, set(range(6, 16)))
    assert scores.registered_share == pytest.approx(0.5)
    assert (scores.registered, scores.correct, scores.models) == (10, 10, 1)
    assert scores.abs_m == pytest.approx(1.0)
    assert np.isnan(scores.rel_across_m)


def test_a_finished_step_is_not_run_again(modules, tmp_path):
    ran = []

    def build(out, work):
        ran.append(out)
        (out / "result").write_text(str(work.is_dir()))
        return SimpleNamespace(skipped="", counts={})

    first = modules.city.make(tmp_path / "step", build)
    assert modules.city.make(tmp_path / "step", build) == first
    assert len(ran) == 1
    assert not (tmp_path / "step" / "work").exists()


@pytest.fixture(scope="module")
def point_city(modules, tmp_path_factory):
    settings = modules.points.point_settings(2, 1)
    return modules.points.make_point_city(tmp_path_factory.mktemp("points"), settings)


def pairs_of(city, key):
    return read_pair_counts(city.at("matches", key) / "matches.db")


def test_a_town_of_points_is_cut_into_the_boxes_that_are_asked_for(modules, point_city):
    assert len(point_city.boxes) == 2
    assert sum(box.n_images for box in point_city.plan.boxes) == 2 * modules.points.PHOTOS_A_BOX
    inside = [pairs_of(point_city, box) for box in point_city.boxes]
    assert all(len(pairs) > 60 for pairs in inside)
    assert all((pairs["n_inliers"] >= 20).all() for pairs in inside)
    assert len(pairs_of(point_city, point_city.plan.fringes[0].key)) > 3


def test_keypoints_of_the_point_town_are_where_the_true_cameras_see_the_points(modules, point_city):
    settings = modules.points.point_settings(2, 1)
    town = build_town(settings)
    captures = sorted(plan_captures(town), key=lambda capture: capture.image_id)
    points, _ = modules.points.street_points(town)
    box = point_city.boxes[0]
    with pycolmap.Database.open(point_city.at("matches", box) / "matches.db") as database:
        image = database.read_all_images()[5]
        pixels = database.read_keypoints(image.image_id)[:, :2]
    capture = captures[image.image_id - 1]
    assert image.name == f"{capture.image_id}.jpg"
    local = (points @ np.linalg.inv(town.town_from_enu).T - capture.centre) @ capture.rotation.T
    local = local[(local[:, 2] > 2) & (local[:, 2] < 46)]
    xy = local[:, :2] / local[:, 2:]
    r2 = (xy**2).sum(axis=1, keepdims=True)
    camera = capture.camera
    seen = xy * camera.focal_px * (1 + camera.k1 * r2 + camera.k2 * r2**2)
    seen += (camera.width / 2, camera.height / 2)
    nearest = np.linalg.norm(pixels[:, None] - seen[None], axis=2).min(axis=1)
    assert np.median(nearest) < 1.0


def test_growth_is_counted_by_the_photo(modules):
    large, small = {"cpu_s": 80.0, "n_photos": 4000}, {"cpu_s": 8.0, "n_photos": 500}
    assert modules.growth.growth_of(large, small, "cpu_s") == pytest.approx(1.25)
    assert modules.growth.peak_mb() > 50


def row(mapper, registered, residual_m, cpu_s):
    return {
        "mapper": mapper, "registered": registered, "gps_residual_m": residual_m, "cpu_s": cpu_s
    }  # fmt: skip


def test_the_best_stock_mapper_has_most_photos_and_then_the_least_residual(modules):
    cost = modules.city.Cost
    rows = [
        row("CitySplat", 29, 3.1, 1.0),
        row("global, gated", 29, 3.0, 2.0),
        row("incremental, exhaustive", 5, 0.9, 0.5),
        row("hierarchical, exhaustive", 29, None, 0.1),
    ]
    found = modules.real.compare(rows, cost(cpu_s=9.0, wall_s=9), cost(cpu_s=40.0, wall_s=40))
    assert found["best_stock"] == "global, gated"
    assert found["time_ratio"] == 0.5
    assert found["time_ratio_with_pairs"] == pytest.approx(10 / 11, abs=1e-3)
    alone = modules.real.compare(rows[:1], cost(cpu_s=9, wall_s=9), cost(cpu_s=np.nan, wall_s=0))
    assert alone["best_stock"] is None


def test_a_set_of_photos_that_is_not_there_says_so(modules, tmp_path):
    table, values = modules.real.measure_real(
        tmp_path, tmp_path / "out", sets=("lund_street",), peers=[], n_threads=1, limit_s=1,
        tell=lambda _: no_progress,
    )  # fmt: skip
    assert "skipped" in table
    assert values["lund_street"] == {"skipped": "the photos are not there"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_parts_town_and_update_run_on_a_tiny_town(tmp_path):
    command = [
        *(sys.executable, str(BENCHMARKS / "mapping.py"), "--quick", "--json", "--photos", "40"),
        *("--only", "town", "update", "--peers", "global", "--pairs", "gated"),
        *("--folder", str(tmp_path)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(values) >= KEYS
    assert values["n_connectable"] >= 20
    assert values["registered_share"] > 0.5
    assert {"CitySplat auto", "global, gated"} == set(values["rows"])
    assert values["update_n_new"] == 1
    assert values["update_cost_share"] > 0
