import numpy as np
import pytest

from citysplat_core.simulation import TownSettings, build_town, plan_captures
from citysplat_core.simulation.sensors import _axis_angles, _matrices, quaternions, readings


@pytest.fixture(scope="module")
def large():
    town = build_town(TownSettings(n_photos=6_000))
    captures = plan_captures(town)
    return town, captures, readings(town, captures)


def _sequence_means(captures, values):
    names = np.array([c.sequence.sequence_id for c in captures])
    return names, {n: values[names == n].mean(axis=0) for n in np.unique(names)}


def test_gps_has_the_wished_bias_and_noise(large):
    town, captures, said = large
    error = (said.gps_enu - np.array([c.centre for c in captures]))[:, :2]
    names, means = _sequence_means(captures, error)
    bias = np.array(list(means.values()))
    noise = error - np.array([means[n] for n in names])
    assert bias.std() == pytest.approx(town.settings.gps_bias_m, rel=0.2)
    assert noise.std() == pytest.approx(town.settings.gps_noise_m, rel=0.1)


def test_computed_positions_keep_the_bias_and_lose_most_of_the_noise(large):
    _, captures, said = large
    truth = np.array([c.centre for c in captures])
    known = np.isfinite(said.computed_enu[:, 0])
    error = (said.computed_enu - truth)[known, :2]
    raw = (said.gps_enu - truth)[known, :2]
    photos = [c for c, k in zip(captures, known, strict=True) if k]
    names, means = _sequence_means(photos, error)
    _, raw_means = _sequence_means(photos, raw)
    apart = np.array([means[n] - raw_means[n] for n in means])
    assert np.median(np.abs(apart)) < 0.6
    noise = error - np.array([means[n] for n in names])
    assert 0.15 < noise.std() < 0.5
    assert np.hypot(*error.T).mean() > 0.8  # never the truth


def test_about_eight_percent_have_no_computed_values(large):
    _, _, said = large
    missing = np.isnan(said.computed_enu[:, 0])
    assert missing.mean() == pytest.approx(0.08, abs=0.02)
    assert np.isnan(said.computed_rotation[missing]).all()
    assert np.isnan(said.computed_compass_deg[missing]).all()


def test_some_sequences_have_no_altitude_and_none_has_half(large):
    _, captures, said = large
    missing = np.isnan(said.gps_enu[:, 2]).astype(float)
    _, means = _sequence_means(captures, missing)
    shares = np.array(list(means.values()))
    assert set(np.unique(shares)) == {0.0, 1.0}
    assert 0.05 < shares.mean() < 0.4


def test_some_compasses_are_grossly_wrong_for_the_whole_sequence(large):
    _, captures, said = large
    truth = np.array([c.heading_deg for c in captures])
    error = np.abs((said.compass_deg - truth + 180) % 360 - 180)
    _, means = _sequence_means(captures, error)
    wrong = np.mean(np.array(list(means.values())) > 40)
    assert 0.04 < wrong < 0.35
    assert np.median(error) < 15


def test_computed_rotation_gives_the_computed_compass_and_is_near_the_truth(large):
    _, captures, said = large
    known = np.isfinite(said.computed_compass_deg)
    matrices = _matrices(said.computed_rotation[known])
    heading = np.degrees(np.arctan2(matrices[:, 2, 0], matrices[:, 2, 1])) % 360
    np.testing.assert_allclose(heading, said.computed_compass_deg[known], atol=1e-9)
    truth = np.array([c.rotation for c in captures])[known]
    cosine = (np.einsum("nij,nij->n", matrices, truth) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    assert 0.3 < np.median(angle) < 2.5


def test_the_documented_pose_of_mapillary_reads_the_same():
    rotation = _matrices(np.array([[1.3642214091955, -0.0019509766093401, 0.035317244081076]]))[0]
    assert np.degrees(np.arctan2(rotation[2, 0], rotation[2, 1])) == pytest.approx(1.2865829255371)


def test_rotations_survive_axis_angles_and_quaternions(captures):
    matrices = np.array([c.rotation for c in captures])
    np.testing.assert_allclose(_matrices(_axis_angles(matrices)), matrices, atol=1e-9)
    w, x, y, z = quaternions(matrices).T
    forward = np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=1)
    np.testing.assert_allclose(forward, matrices[:, 2], atol=1e-9)
