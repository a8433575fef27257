import numpy as np
from scipy.spatial.transform import Rotation

from citysplat_core.matching.gates import heading_errors_deg, judge_pairs
from citysplat_core.matching.verify import CALIBRATED, PLANAR, Edges
from citysplat_core.settings import MatchingSettings


def refused(verdict) -> np.ndarray:
    return np.array([bool(reason) for reason in verdict.reasons])


def test_lookalikes_are_refused_and_true_pairs_stay(town):
    edges, is_false = town.with_lookalikes()
    out = refused(judge_pairs(town.photos, edges, MatchingSettings()))
    assert out[is_false].mean() >= 0.97
    assert out[~is_false].mean() <= 0.03


def test_lookalikes_are_refused_without_any_compass(town):
    edges, is_false = town.with_lookalikes()
    photos = town.photos.select(np.arange(len(town.photos)))
    photos.heading_deg[:] = np.nan
    verdict = judge_pairs(photos, edges, MatchingSettings())
    out = refused(verdict)
    assert out[is_false].mean() >= 0.97
    assert out[~is_false].mean() <= 0.03
    assert verdict.headings.n_visual == len(photos)


def test_a_lying_compass_refuses_no_true_pair(town):
    edges = town.edges(town.true_rows())
    town.photos.heading_deg[:14] += 165.0
    town.photos.heading_deg[40:60] += 165.0
    verdict = judge_pairs(town.photos, edges, MatchingSettings())
    assert refused(verdict).mean() <= 0.03


def test_a_pair_far_apart_on_gps_is_refused_for_the_distance(town):
    rows = np.array([[0, 1], [0, 15]])
    verdict = judge_pairs(town.photos, town.edges(rows), MatchingSettings())
    assert verdict.reasons == ("", "distance")


def test_a_pair_across_a_valley_is_refused_for_its_turn_but_not_for_its_distance(town):
    rows = np.array([[0, 1], [0, 15], [0, 16]])
    edges, far = town.edges(rows), np.array([False, True, True])
    edges.rotation[2] = Rotation.from_euler("y", 90, degrees=True).as_matrix() @ edges.rotation[2]
    verdict = judge_pairs(town.photos, edges, MatchingSettings(), far=far)
    assert verdict.reasons == ("", "", "heading")
    near = MatchingSettings(retrieval_distance_m=70)
    assert judge_pairs(town.photos, edges, near, far=far).reasons[1] == "distance"


def test_a_wrong_rotation_among_many_is_refused(town):
    edges = town.edges(town.true_rows())
    edges.rotation[5] = Rotation.from_euler("y", 25, degrees=True).as_matrix() @ edges.rotation[5]
    verdict = judge_pairs(town.photos, edges, MatchingSettings())
    assert verdict.reasons[5] == "rotation"


def test_a_planar_pair_of_one_sequence_is_excused_and_another_is_not(town):
    edges = town.edges(town.true_rows())
    same = town.photos.sequence[edges.rows[:, 0]] == town.photos.sequence[edges.rows[:, 1]]
    inside = int(np.flatnonzero(same)[7])
    turn = Rotation.from_euler("y", 80, degrees=True).as_matrix()
    edges.rotation[inside] = turn @ edges.rotation[inside]
    edges.config[inside] = PLANAR
    assert judge_pairs(town.photos, edges, MatchingSettings()).reasons[inside] == ""
    edges.config[inside] = CALIBRATED
    assert judge_pairs(town.photos, edges, MatchingSettings()).reasons[inside] != ""


def test_poor_gps_switches_the_test_of_directions_off_and_says_so(town):
    rng = np.random.default_rng(0)
    town.photos.east_north_m[:] += rng.normal(0, 14, town.position.shape)
    settings = MatchingSettings(max_verified_distance_m=1000, max_heading_error_deg=180)
    verdict = judge_pairs(town.photos, town.edges(town.true_rows()), settings)
    assert "direction" not in verdict.reasons
    assert any("disagree with GPS" in note for note in verdict.notes)


def test_cameras_that_cannot_both_be_upright_have_no_heading_error():
    rotation = np.stack([np.eye(3), np.diag([-1.0, -1.0, 1.0])])
    edges = Edges(
        rows=np.array([[0, 1], [0, 1]]),
        rotation=rotation,
        translation=np.tile([0.0, 0.0, 1.0], (2, 1)),
        n_inliers=np.array([50, 50]),
        config=np.full(2, CALIBRATED),
    )
    errors = heading_errors_deg(np.array([10.0, 100.0]), edges)
    np.testing.assert_allclose(errors, [90.0, np.nan])


def test_no_pairs_give_an_empty_verdict(town):
    edges = town.edges(np.zeros((0, 2), dtype=np.int64))
    assert judge_pairs(town.photos, edges, MatchingSettings()).reasons == ()


def test_a_weak_pair_is_kept_inside_a_sequence_and_refused_across(town):
    edges = town.edges(town.true_rows())
    edges.n_inliers[:] = 25
    sequence = town.photos.sequence
    same = sequence[edges.rows[:, 0]] == sequence[edges.rows[:, 1]]
    reasons = np.array(judge_pairs(town.photos, edges, MatchingSettings()).reasons)
    assert (reasons[~same] == "weak").all()
    assert not (reasons[same] == "weak").any()
