import numpy as np
import pytest

from citysplat_core.matching.strays import find_strays

N = 20


def drive(start: int = 0) -> np.ndarray:
    rows = start + np.arange(N)
    return np.stack([rows[:-1], rows[1:]], axis=1)


def moved(noise_m: float, drift_m: float = 0.0) -> np.ndarray:
    """What GPS errors make a right solution move: noise from photo to photo, and a slow drift."""
    rng = np.random.default_rng(1)
    return rng.normal(0, noise_m, (N, 2)) + np.linspace(0, drift_m, N)[:, None] + [2.0, -1.0]


@pytest.mark.parametrize(("noise_m", "off_m"), [(0.2, 7.0), (3.0, 30.0)])
def test_a_photo_that_is_moved_otherwise_than_its_neighbours_is_a_stray(noise_m, off_m):
    given = moved(noise_m)
    given[7] += [off_m, 0]
    stray = find_strays(given, np.ones(N, dtype=bool), drive())
    assert np.flatnonzero(stray).tolist() == [7]


@pytest.mark.parametrize("noise_m", [0.0, 0.3, 3.0])
def test_noise_and_drift_of_gps_make_no_strays(noise_m):
    assert not find_strays(moved(noise_m, 8.0), np.ones(N, dtype=bool), drive()).any()


def test_noisy_gps_excuses_what_good_gps_does_not():
    for noise_m, expected in ((0.2, True), (4.0, False)):
        given = moved(noise_m)
        given[7] += [7.0, 0]
        assert bool(find_strays(given, np.ones(N, dtype=bool), drive())[7]) is expected


def test_photos_that_are_not_known_say_nothing_of_others():
    given, known = moved(0.2), np.ones(N, dtype=bool)
    given[5:9] += 50.0
    known[5:9] = False
    assert not find_strays(given, known, drive()).any()


def test_two_sequences_are_not_compared():
    given = np.concatenate([moved(0.2), moved(0.2) + 40.0])
    along = np.concatenate([drive(), drive(N)])
    assert not find_strays(given, np.ones(2 * N, dtype=bool), along).any()


def test_short_and_missing_sequences_are_left_alone():
    given = np.array([[0.0, 0.0], [30.0, 0.0], [0.0, 0.0]])
    every = np.ones(3, dtype=bool)
    assert not find_strays(given, every, np.array([[0, 1], [1, 2]])).any()
    assert not find_strays(given, every, np.zeros((0, 2), dtype=np.int64)).any()
