from dataclasses import replace

import numpy as np
import pytest

from citysplat_core.matching.evidence import sequence_steps, weigh_matches
from citysplat_core.matching.pairs import wrap_deg
from tests.matching.look_alikes import Case, Rows, drive_rows, make_case


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(drive_rows())


@pytest.fixture(scope="module")
def evidence(case):
    return weigh(case.rows, case.graph)


def weigh(rows: Rows, graph):
    return weigh_matches(
        rows.photos, graph.edges, graph.inliers, gps_sigma_m=4.0, max_distance_m=60.0
    )


def drift_between_drives(rows: Rows, correction_m: np.ndarray) -> np.ndarray:
    """How far corrected positions of two drives are from their true places to each other."""
    error = rows.photos.east_north_m + correction_m - rows.position_m
    middle = np.stack([error[rows.drive == number].mean(axis=0) for number in range(3)])
    return np.hypot(*(middle[[1, 2, 0]] - middle).T)


def test_matches_are_told_true_from_false(case, evidence):
    said = evidence.verdict
    assert (said[case.is_true] > 0).mean() > 0.97
    assert (said[~case.is_true] < 0).mean() > 0.9


def test_corrections_bring_the_drives_together(case, evidence):
    assert (drift_between_drives(case.rows, np.zeros((42, 2))) > 2.0).any()
    assert (drift_between_drives(case.rows, evidence.correction_m) < 1.0).all()


def test_headings_are_right_whatever_the_compass_says(case, evidence):
    heading = evidence.yaws.heading_deg
    assert np.abs(wrap_deg(heading - case.rows.heading_deg)).max() < 2.0


def test_counts_are_those_of_the_verdicts(case, evidence):
    edge, n = case.graph.inliers.edge, len(case.graph.edges)
    np.testing.assert_array_equal(evidence.n_for, np.bincount(edge[evidence.verdict > 0], None, n))
    np.testing.assert_array_equal(
        evidence.n_against, np.bincount(edge[evidence.verdict < 0], None, n)
    )
    assert ((evidence.share_for >= 0) & (evidence.share_for <= 1)).all()


def test_nothing_is_infinite_or_missing(evidence):
    assert np.isfinite(evidence.correction_m).all()
    assert np.isfinite(evidence.yaws.heading_deg).all()
    assert np.isfinite(evidence.share_for).all()


def test_a_row_of_houses_taken_for_the_next_one_within_a_drive_is_seen(case):
    """Each photo's depths fit: all that is wrong is that GPS knows the photos farther apart."""
    rows = case.rows
    false = [(3, 9, 1.0), (20, 24, 1.0), (30, 36, 1.0)]
    pairs = [pair for pair in rows.true_pairs() if pair[:2] not in {pair[:2] for pair in false}]
    graph, is_true = rows.graph([*pairs, *false])
    out = weigh(rows, graph)
    assert (out.verdict[~is_true] < 0).mean() > 0.9
    assert (out.verdict[is_true] > 0).mean() > 0.95


def test_photos_at_one_place_must_see_a_thing_in_one_direction():
    """Depths are unknown: the two drives have no neighbours in their sequences but one."""
    rows = drive_rows()
    near = [(0, 28, 0.0), (15, 29, 0.0), (1, 29, 0.0)]
    chain = [(a, a + 1, 0.0) for drive in (0, 14, 28) for a in range(drive, drive + 3)]
    graph, _ = rows.graph(chain + near)
    gps = rows.position_m
    exact = replace(rows, photos=replace(rows.photos, east_north_m=gps))
    out = weigh(exact, graph)
    own = graph.inliers.edge >= len(chain)
    assert (out.verdict[own] >= 0).mean() > 0.97
    turned = graph.inliers.bearing.copy()
    turned[own, 1, 0] += 1.5
    again = weigh(exact, replace(graph, inliers=replace(graph.inliers, bearing=turned)))
    assert (again.verdict[own] < 0).mean() > 0.9


def test_photos_without_headings_say_nothing(case):
    """Neither where a point stands nor, side by side, in which direction it is seen."""
    alone = case.rows.without_sequences().without_compass()
    out = weigh(alone, case.graph)
    assert not out.verdict.any()
    assert not out.correction_m.any()
    assert np.isnan(out.yaws.heading_deg).all()


def test_a_compass_that_nobody_has_checked_tests_no_pair(case):
    lying = replace(case.rows.photos, heading_deg=case.rows.photos.heading_deg + 100.0)
    out = weigh(replace(case.rows, photos=lying).without_sequences(), case.graph)
    assert not out.verdict.any()


def test_steps_follow_the_time_of_capture(case):
    photos = case.rows.photos
    backwards = replace(photos, captured_at=-photos.captured_at)
    steps, along = sequence_steps(backwards, case.graph.edges)
    first, second = case.graph.edges.rows.T
    same = photos.sequence[first] == photos.sequence[second]
    np.testing.assert_array_equal(steps, np.where(same, second - first, 0))
    assert len(along) == 3 * 13
    assert (along[:, 0] - along[:, 1] == 1).all()
    steps, along = sequence_steps(case.rows.without_sequences().photos, case.graph.edges)
    assert not steps.any()
    assert along.shape == (0, 2)
