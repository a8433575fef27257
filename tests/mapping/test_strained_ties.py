import numpy as np
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.graph import Cameras
from citysplat_core.mapping.strained_ties import strained_ties

GPS = {"noise_m": 3.0, "shared_m": 2.0, "seed": 0}


def corner(rng, *, off_m=0.0):
    """Two streets meet at a corner and share eight photos there; the second is ``off_m`` off."""
    along = np.arange(40) * 3.0
    first = np.stack([along, np.zeros(40), np.full(40, 2.0)], axis=1)
    second = np.concatenate([first[32:], np.stack([np.full(30, 120.0), np.arange(30) * 3.0 + 3,
                                                   np.full(30, 2.0)], axis=1)])  # fmt: skip
    places = np.concatenate([first, second])
    gps = places + rng.normal(0, 3.0, places.shape)
    gps[48:, 1] += off_m
    node = np.repeat([0, 1], [40, 38])
    cameras = Cameras(node=node, center=places, rotation=Rotation.identity(78))
    return cameras, gps, np.stack([np.arange(32, 40), np.arange(40, 48)], axis=1)


def test_a_tie_that_gps_agrees_with_is_kept():
    for seed in range(5):
        assert strained_ties(*corner(np.random.default_rng(seed)), **GPS) == []


def test_a_tie_that_puts_a_street_twenty_metres_off_is_named():
    cameras, gps, seams = corner(np.random.default_rng(1), off_m=20.0)
    assert strained_ties(cameras, gps, seams, **GPS) == [(0, 1)]
    assert strained_ties(cameras, gps, seams[:, ::-1], **GPS) == [(0, 1)]


def test_without_positions_or_with_two_shared_photos_nothing_is_judged():
    cameras, gps, seams = corner(np.random.default_rng(2), off_m=20.0)
    assert strained_ties(cameras, np.full_like(gps, np.nan), seams, **GPS) == []
    assert strained_ties(cameras, gps, seams[:2], **GPS) == []
    assert strained_ties(cameras, gps, seams[:0], **GPS) == []
