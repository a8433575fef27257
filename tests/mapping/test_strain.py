import numpy as np
import pytest

from citysplat_core.mapping.strain import strain


def two_streets(rng, *, n=30):
    """Two crossing streets, level, with GPS noise of 3 m."""
    along = np.linspace(-60, 60, n)
    first = np.stack([along, np.zeros(n)], axis=1)
    second = np.stack([np.zeros(n), along], axis=1)
    places = np.concatenate([first, second])
    return places, places + rng.normal(0, 3.0, places.shape), np.arange(2 * n) >= n


@pytest.mark.parametrize("seed", range(5))
def test_streets_that_belong_together_are_without_strain(seed):
    places, gps, second = two_streets(np.random.default_rng(seed))
    turned = 0.3 * places @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    assert strain(turned, gps, second, noise_m=3.0, shared_m=2.0) < 1.0


def test_a_bias_between_drives_is_expected():
    places, gps, second = two_streets(np.random.default_rng(1))
    gps[second] += (2.5, -2.0)
    assert strain(places, gps, second, noise_m=3.0, shared_m=2.0) < 1.5


@pytest.mark.parametrize("shift_m", [15.0, 25.0, 50.0])
def test_a_street_glued_on_at_the_next_house_is_strained(shift_m):
    places, gps, second = two_streets(np.random.default_rng(2))
    places[second] += (shift_m, 0.0)
    assert strain(places, gps, second, noise_m=3.0, shared_m=2.0) > 3.0


def test_where_gps_is_poor_for_each_part_alone_strain_is_less():
    rng = np.random.default_rng(3)
    places, gps, second = two_streets(rng)
    places[second] += (15.0, 0.0)
    poor = gps + rng.normal(0, 12.0, gps.shape)
    kwargs = {"noise_m": 3.0, "shared_m": 2.0}
    assert strain(places, poor, second, **kwargs) < strain(places, gps, second, **kwargs)


def test_a_part_of_two_photos_says_nothing():
    places, gps, _ = two_streets(np.random.default_rng(4))
    few = np.arange(len(places)) < 2
    places[few] += 100.0
    assert strain(places, gps, few, noise_m=3.0, shared_m=2.0) == 0.0
