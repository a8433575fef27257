from dataclasses import replace

import numpy as np
import pycolmap
import pytest

from citysplat_core.matching.inliers import Graph, read_graph
from citysplat_core.matching.judging import PLACES, UNPROVEN, judge_matches, write_kept_matches
from citysplat_core.settings import MatchingSettings
from tests.matching.look_alikes import Case, Rows, drive_rows, make_case, write_database

SETTINGS = MatchingSettings()


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(drive_rows())


@pytest.fixture(scope="module")
def judgement(case):
    return judge(case.rows, case.graph)


def judge(rows: Rows, graph: Graph, **changes):
    return judge_matches(rows.photos, graph.edges, graph.inliers, SETTINGS, **changes)


def reasons_of(judgement) -> np.ndarray:
    return np.array(judgement.verdict.reasons)


def test_true_pairs_stay_with_nearly_all_their_matches(case, judgement):
    assert (reasons_of(judgement)[case.false_share == 0] == "").all()
    assert judgement.is_kept[case.of_pairs(0.0)].mean() > 0.97


def test_look_alike_pairs_are_refused_for_the_places_of_what_they_see(case, judgement):
    assert set(reasons_of(judgement)[case.false_share == 1]) == {PLACES}
    assert not judgement.is_kept[case.of_pairs(1.0)].any()


def test_of_a_pair_with_false_matches_the_true_ones_stay(case, judgement):
    assert (reasons_of(judgement)[case.false_share == 0.5] == "").all()
    mixed = case.of_pairs(0.5)
    assert judgement.is_kept[mixed & case.is_true].mean() > 0.97
    assert judgement.is_kept[mixed & ~case.is_true].mean() < 0.25
    inliers, rows = case.graph.inliers, case.graph.edges.rows
    depth_m = case.rows.depth_m(rows[inliers.edge], inliers.point).max(axis=1)
    near = depth_m < 25  # the depth of what is farther away is known to a quarter only
    assert judgement.is_kept[mixed & ~case.is_true & near].mean() < 0.02


def test_look_alikes_are_refused_without_any_compass(case):
    out = reasons_of(judge(case.rows.without_compass(), case.graph))
    assert (out[case.false_share < 1] == "").all()
    assert set(out[case.false_share == 1]) == {PLACES}


@pytest.mark.parametrize("seed", [0, 1])
def test_other_streets_and_gps_errors_are_judged_as_well(seed):
    case = make_case(drive_rows(gps_sigma_m=2.5, seed=seed))
    out = reasons_of(judge(case.rows, case.graph)) != ""
    assert out[case.false_share == 1].all()
    assert out[case.false_share < 1].mean() < 0.01


def test_the_same_input_gives_the_same_bits(case, judgement):
    again = judge(case.rows, case.graph)
    assert again.verdict.reasons == judgement.verdict.reasons
    for one, two in (
        (again.is_kept, judgement.is_kept),
        (again.evidence.verdict, judgement.evidence.verdict),
        (again.evidence.correction_m, judgement.evidence.correction_m),
        (again.evidence.yaws.heading_deg, judgement.evidence.yaws.heading_deg),
    ):
        assert one.tobytes() == two.tobytes()


def test_the_order_in_which_pairs_were_written_changes_no_bit(tmp_path, case):
    orders = (None, np.random.default_rng(1).permutation(len(case.graph.edges)).tolist())
    found = []
    for number, order in enumerate(orders):
        path = tmp_path / f"{number}.db"
        write_database(path, case.rows, case.graph, order)
        graph = read_graph([path], case.rows.photos.colmap_id)
        found.append((graph, judge(case.rows, graph)))
    (graph, one), (other, two) = found
    assert graph.edges.rows.tobytes() == other.edges.rows.tobytes()
    assert one.verdict.reasons == two.verdict.reasons
    assert one.is_kept.tobytes() == two.is_kept.tobytes()
    assert one.evidence.correction_m.tobytes() == two.evidence.correction_m.tobytes()


def test_photos_without_sequences_are_judged_by_their_poses(case):
    alone = case.rows.without_sequences()
    out = judge(alone, case.graph)
    assert not out.evidence.verdict.any()
    assert not out.evidence.correction_m.any()
    assert not {PLACES, UNPROVEN} & set(out.verdict.reasons)
    assert (reasons_of(out)[case.false_share == 0] == "").mean() > 0.97
    kept = np.array([not reason for reason in out.verdict.reasons])
    np.testing.assert_array_equal(out.is_kept, kept[case.graph.inliers.edge])


def test_a_pair_that_was_accepted_before_stays_with_all_its_matches(case):
    accepted = case.false_share == 1
    out = judge(case.rows, case.graph, accepted=accepted)
    assert (reasons_of(out)[accepted] == "").all()
    assert out.is_kept[case.of_pairs(1.0)].all()


def test_pairs_across_a_border_need_the_pairs_of_the_sides(case):
    drive = case.rows.photos.sequence[case.graph.edges.rows]
    inside = drive[:, 0] == drive[:, 1]
    out = judge(case.rows, case.graph, accepted=inside)
    assert set(reasons_of(out)[case.false_share == 1]) == {PLACES}
    alone, _ = case.rows.graph(
        [
            (int(a), int(b), float(share))
            for (a, b), share, own in zip(
                case.graph.edges.rows, case.false_share, inside, strict=True
            )
            if not own
        ]
    )
    without = judge(case.rows, alone)
    assert not without.evidence.verdict.any()
    assert PLACES not in without.verdict.reasons


def test_a_pair_of_which_no_match_stands_anywhere_is_unproven(case):
    """Its keypoints are seen by no other pair, while both photos know much else."""
    graph = case.graph
    edge = int(np.flatnonzero(case.false_share == 0.5)[0])
    own = graph.inliers.edge == edge
    point = graph.inliers.point.copy()
    point[own] += case.rows.n_houses * 100
    bearing = graph.inliers.bearing.copy()
    bearing[own] = [[0.0, -1.5], [0.02, -1.5]]  # high above the street, far from all that is known
    inliers = replace(graph.inliers, point=point, bearing=bearing)
    out = judge(case.rows, replace(graph, inliers=inliers))
    assert out.verdict.reasons[edge] == UNPROVEN
    assert not out.is_kept[own].any()


def test_one_pair_alone_is_judged_by_its_pose():
    rows = drive_rows()
    graph, _ = rows.graph([(0, 1, 0.0)])
    out = judge(rows, graph)
    assert out.verdict.reasons == ("",)
    assert out.n_kept(graph.inliers).tolist() == [len(graph.inliers)]


def test_no_pairs_give_an_empty_judgement():
    rows = drive_rows()
    graph, _ = rows.graph([])
    out = judge(rows, graph)
    assert out.verdict.reasons == ()
    assert out.is_kept.shape == (0,)
    assert out.n_kept(graph.inliers).shape == (0,)
    assert np.isfinite(out.evidence.correction_m).all()


def test_too_few_agreeing_matches_refuse_a_pair(case):
    strict = MatchingSettings(min_agreeing_matches=1000)
    graph = case.graph
    out = judge_matches(case.rows.photos, graph.edges, graph.inliers, strict)
    told = out.evidence.n_for + out.evidence.n_against >= 8
    assert (reasons_of(out)[told] == PLACES).all()


def test_a_database_keeps_the_matches_that_stay_and_nothing_else_changes(tmp_path, case, judgement):
    path = tmp_path / "matches.db"
    write_database(path, case.rows, case.graph)
    ids = case.rows.photos.colmap_id
    write_kept_matches(path, ids, case.graph, judgement)
    before, kept = case.graph, reasons_of(judgement) == ""
    after = read_graph([path], ids)
    place = {tuple(pair): row for row, pair in enumerate(after.edges.rows.tolist())}
    n_kept = judgement.n_kept(before.inliers)
    for edge, pair in enumerate(before.edges.rows.tolist()):
        row = place[tuple(pair)]
        own = before.inliers.edge == edge
        if kept[edge]:
            own &= judgement.is_kept
            assert after.edges.n_inliers[row] == n_kept[edge]
        points = after.inliers.point[after.inliers.edge == row]
        np.testing.assert_array_equal(points, before.inliers.point[own])
        np.testing.assert_allclose(after.edges.rotation[row], before.edges.rotation[edge])
        np.testing.assert_allclose(after.edges.translation[row], before.edges.translation[edge])


def test_a_database_without_a_pair_is_left_without_it(tmp_path, case, judgement):
    path = tmp_path / "matches.db"
    few, _ = case.rows.graph([(0, 1, 0.0), (0, 2, 0.0)])
    write_database(path, case.rows, few)
    write_kept_matches(path, case.rows.photos.colmap_id, case.graph, judgement)
    with pycolmap.Database.open(path) as database:
        keys, _ = database.read_two_view_geometries()
    assert len(keys) == 2
