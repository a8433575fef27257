import numpy as np
import pandas as pd
import pytest

from citysplat_core.mapping.accuracy import GpsErrors, estimate_accuracy

ERRORS = GpsErrors(shared_m=2.0, shared_up_m=5.0, tilt_deg=1.0)


def cameras(n_sequences, *, n_photos=20, noise_m=3.0, shared_m=2.0, seed=0):
    """Give a component that was put where the mean of its GPS positions is."""
    rng = np.random.default_rng(seed)
    true = np.column_stack(
        [np.linspace(0, 100, n_sequences * n_photos), np.zeros((n_sequences * n_photos, 2))]
    )
    shared = np.repeat(rng.normal(0, shared_m, (n_sequences, 3)), n_photos, axis=0)
    gps = true + shared + rng.normal(0, noise_m, true.shape)
    solved = true + (gps - true).mean(axis=0)
    rows = pd.DataFrame(solved, columns=["east_m", "north_m", "up_m"])
    rows[["gps_east_m", "gps_north_m", "gps_up_m"]] = gps
    rows["sequence_id"] = np.repeat([f"s{k}" for k in range(n_sequences)], n_photos)
    return rows.assign(solved_in="030", component=0), np.hypot(*(solved - true)[:, :2].T)


@pytest.mark.parametrize("n_sequences", [1, 4, 16])
def test_most_cameras_stand_within_the_accuracy_that_is_claimed(n_sequences):
    claimed, found = [], []
    for seed in range(60):
        rows, off = cameras(n_sequences, seed=seed)
        horizontal, _ = estimate_accuracy(rows, ERRORS)
        claimed.append(horizontal.mean())
        found.append(off.mean())
    assert np.mean(np.array(found) < claimed) > 0.63
    assert (
        np.sqrt(np.mean(np.square(found)))
        < np.mean(claimed)
        < 2.5 * np.sqrt(np.mean(np.square(found)))
    )


def test_more_sequences_make_it_better_and_more_photos_of_one_do_not():
    one = estimate_accuracy(cameras(1)[0], ERRORS)[0].mean()
    long = estimate_accuracy(cameras(1, n_photos=500)[0], ERRORS)[0].mean()
    many = estimate_accuracy(cameras(9)[0], ERRORS)[0].mean()
    assert many < 0.6 * one
    assert long > 2.0 * np.sqrt(2) * 0.99


def test_the_ends_of_a_component_are_less_sure_than_its_middle():
    rows, _ = cameras(2)
    horizontal, vertical = estimate_accuracy(rows, ERRORS)
    assert horizontal[0] > horizontal[20]
    assert vertical[0] > vertical[20]


def test_a_camera_that_its_own_position_contradicts_is_not_believed():
    rows, _ = cameras(4)
    rows.loc[7, "gps_east_m"] += 1000.0
    horizontal, _ = estimate_accuracy(rows, ERRORS)
    assert horizontal[7] == pytest.approx(1000, abs=20)
    assert horizontal[8] < 10


def test_without_any_height_the_vertical_accuracy_is_unknown():
    rows, _ = cameras(3)
    rows["gps_up_m"] = np.nan
    horizontal, vertical = estimate_accuracy(rows, ERRORS)
    assert np.isfinite(horizontal).all()
    assert np.isnan(vertical).all()


def test_without_any_position_nothing_is_claimed():
    rows, _ = cameras(2)
    rows[["gps_east_m", "gps_north_m"]] = np.nan
    horizontal, vertical = estimate_accuracy(rows, ERRORS)
    assert np.isnan(horizontal).all()
    assert np.isnan(vertical).all()
