from dataclasses import replace

import numpy as np
import pytest

from citysplat_core.matching.evidence import Evidence, sequence_steps, weigh_matches
from citysplat_core.matching.pairs import wrap_deg
from citysplat_core.matching.sketch import Sketch, draw_sketch
from citysplat_core.matching.sketched import passing_deg, weigh_sketched
from tests.matching.look_alikes import Case, drive_rows, make_case


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(drive_rows())


@pytest.fixture(scope="module")
def evidence(case) -> Evidence:
    return weigh_matches(
        case.rows.photos, case.graph.edges, case.graph.inliers, gps_sigma_m=4.0, max_distance_m=60.0
    )


def draw(case: Case, evidence: Evidence, heading_deg: np.ndarray | None = None) -> Sketch:
    photos = case.rows.photos
    return draw_sketch(
        evidence.depths,
        evidence.verdict > 0,
        gps_m=photos.east_north_m,
        correction_m=evidence.correction_m,
        heading_deg=evidence.yaws.heading_deg if heading_deg is None else heading_deg,
        sequence=photos.sequence,
        along=sequence_steps(photos, case.graph.edges)[1],
        gps_sigma_m=4.0,
    )


@pytest.fixture(scope="module")
def sketch(case, evidence) -> Sketch:
    return draw(case, evidence)


def errors_of_pairs(case: Case, east_north_m: np.ndarray) -> np.ndarray:
    a, b = case.graph.edges.rows[case.false_share == 0].T
    error = east_north_m - case.rows.position_m
    return np.hypot(*(error[b] - error[a]).T)


def test_a_sketch_places_photos_closer_than_the_consensus(case, evidence, sketch):
    assert sketch.is_known.mean() > 0.9
    before = case.rows.photos.east_north_m + evidence.correction_m
    after = errors_of_pairs(case, sketch.centre_m[:, :2])
    assert np.median(after) < 0.6 * np.median(errors_of_pairs(case, before))
    assert np.median(after) < 0.2


def test_a_sketch_knows_the_headings(case, sketch):
    gap = np.abs(wrap_deg(sketch.heading_deg - case.rows.heading_deg))
    assert gap[sketch.is_known].max() < 1.5


def test_photos_without_a_heading_take_no_part(case, evidence):
    heading = evidence.yaws.heading_deg.copy()
    heading[7] = np.nan
    out = draw(case, evidence, heading)
    assert not out.is_known[7]
    assert np.isnan(out.heading_deg[7])
    assert out.is_known.sum() >= 30


def test_photos_whose_points_do_not_fit_are_not_known(case, evidence):
    """Their bearings are those of another lens."""
    depths = evidence.depths
    of_odd = depths.owner == 20
    bearing = np.where(of_odd[:, None], depths.bearing[:, ::-1] * 2.0, depths.bearing)
    odd = replace(evidence, depths=replace(depths, bearing=bearing.astype(np.float32)))
    out = draw(case, odd)
    assert not out.is_known[20]
    assert np.isfinite(out.centre_m).all()


def test_with_a_sketch_true_and_false_matches_are_told_apart_better(case, evidence, sketch):
    lends = np.ones(len(case.graph.edges), dtype=bool)
    out = weigh_sketched(
        case.rows.photos, case.graph.edges, case.graph.inliers, evidence, sketch, lends
    )
    assert (out.verdict[case.is_true] > 0).mean() >= (evidence.verdict[case.is_true] > 0).mean()
    assert (out.verdict[~case.is_true] < 0).mean() > (evidence.verdict[~case.is_true] < 0).mean()
    assert (out.verdict[case.is_true] > 0).mean() > 0.98
    assert (out.verdict[~case.is_true] < 0).mean() > 0.95


def test_where_a_sketch_knows_nothing_the_verdicts_stay(case, evidence, sketch):
    nothing = replace(
        sketch,
        rotation=draw(case, evidence).rotation,
        is_known=np.zeros_like(sketch.is_known),
    )
    lends = np.ones(len(case.graph.edges), dtype=bool)
    out = weigh_sketched(
        case.rows.photos, case.graph.edges, case.graph.inliers, evidence, nothing, lends
    )
    assert not out.is_sketched.any()
    np.testing.assert_array_equal(out.verdict, evidence.verdict)


def test_rays_of_true_matches_meet(case):
    passing = passing_deg(case.graph.edges, case.graph.inliers)
    assert passing.shape == (len(case.graph.inliers),)
    assert np.median(passing[case.of_pairs(0.0)]) < 0.5
