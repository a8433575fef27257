import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.gps_stats import (
    contradicts,
    doubted_sequences,
    extent,
    heading_errors,
    measure_gps,
)

N = 40


def given(**columns):
    rows = pd.DataFrame(
        {"colmap_id": range(N), "east_m": 5.0 * np.arange(N), "north_m": 0.0, "up_m": 20.0}
    )
    return rows.assign(**columns)


def test_residuals_are_told_apart_along_the_ground_and_up():
    solved = given().assign(east_m=given()["east_m"] + 3, north_m=4.0, up_m=21.5)
    stats = measure_gps(solved, given())
    assert (stats.gps_residual_median_m, stats.gps_residual_p90_m) == (5.0, 5.0)
    assert (stats.gps_residual_up_median_m, stats.n_heights) == (1.5, N)
    assert stats.extent_m == pytest.approx(stats.gps_extent_m)


def test_a_model_that_shrank_is_smaller_than_its_gps():
    solved = given().assign(east_m=100 + 0.02 * (given()["east_m"] - 100))
    stats = measure_gps(solved, given())
    assert stats.extent_m == pytest.approx(0.02 * stats.gps_extent_m)
    assert stats.gps_extent_m == stats.all_gps_extent_m > 150


def test_one_position_a_kilometre_away_does_not_change_the_size():
    wrong = given()
    wrong.loc[7, "north_m"] = 1000.0
    stats = measure_gps(given(), wrong)
    assert stats.gps_extent_m == pytest.approx(stats.extent_m)
    assert stats.gps_residual_median_m == 0.0


def test_what_is_not_known_is_left_out():
    stats = measure_gps(given().iloc[:0], given(up_m=np.nan))
    assert set(stats.known()) == {"n_heights", "all_gps_extent_m"}
    assert "gps_residual_up_median_m" not in measure_gps(given(), given(up_m=np.nan)).known()


def test_a_contradiction_is_measured_by_the_others():
    assert contradicts(np.array([1.0, 2, 3, 30, np.nan])).tolist() == [0, 0, 0, 1, 0]
    assert not contradicts(np.full(5, 30.0)).any()


def test_the_extent_of_nothing_is_unknown():
    assert np.isnan(extent(np.zeros((0, 2))))
    assert extent(np.zeros((1, 2))) == 0.0


def test_headings_are_compared_and_a_constant_turn_is_no_mirror():
    looks = np.array([10.0, 40, 80, 120, 160])
    level = Rotation.from_matrix([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # looks north
    turned = level * Rotation.from_euler("z", looks[:, None], degrees=True)
    quats = turned.as_quat()[:, [3, 0, 1, 2]]
    solved = pd.DataFrame(quats, columns=["qw", "qx", "qy", "qz"])
    solved = solved.assign(colmap_id=range(5), image_id=[f"p{i}" for i in range(5)])
    told = pd.DataFrame({"colmap_id": range(5), "heading_deg": looks + 100, "sequence_id": "s"})
    errors = heading_errors(solved, told)
    assert errors["solved_deg"].to_numpy() == pytest.approx(looks)
    assert errors["error_deg"].to_numpy() == pytest.approx(np.full(5, 100.0))
    assert doubted_sequences(errors)[0]["guess"] == "turned by -100 degrees"
    assert doubted_sequences(heading_errors(solved, told.assign(heading_deg=looks))) == []
    assert heading_errors(solved, told.assign(heading_deg=np.nan)).empty
