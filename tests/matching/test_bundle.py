from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.matching.bundle import adjust_bundle, upright
from citysplat_core.matching.lens import bend, straighten
from citysplat_core.matching.sightings import Bundle, Sightings

N_PHOTOS, N_POINTS = 24, 400


@pytest.fixture(scope="module")
def truth() -> Bundle:
    """A drive along north that turns east, past walls on both sides; cameras lean a little."""
    rng = np.random.default_rng(2)
    half = N_PHOTOS // 2
    north = np.r_[np.arange(half) * 4.0, np.full(half, half * 4.0)]
    east = np.r_[np.zeros(half), np.arange(half) * 4.0]
    heading = np.r_[np.zeros(half), np.full(half, 90.0)] + rng.normal(0, 3, N_PHOTOS)
    lean = Rotation.from_rotvec(np.radians(rng.normal(0, 2, (N_PHOTOS, 3)))).as_matrix()
    away = rng.uniform([-15, -5, -2], [60, 75, 8], (N_POINTS, 3))
    return Bundle(
        rotation=lean @ upright(heading),
        centre_m=np.c_[east, north, rng.normal(0, 0.1, N_PHOTOS)],
        point_m=away,
        focal=np.ones(1),
        radial=np.zeros(1),
    )


@pytest.fixture(scope="module")
def sightings(truth) -> Sightings:
    photo, point = (each.ravel() for each in np.indices((N_PHOTOS, N_POINTS)))
    lens = np.zeros(N_PHOTOS, dtype=np.int64)
    every = Sightings(photo=photo, point=point, bearing=np.zeros((len(photo), 2)), lens=lens)
    seen = truth.seen(every)
    ahead = np.maximum(seen[:, 2], 0.1)
    image = seen[:, :2] / ahead[:, None]
    inside = (seen[:, 2] > 3) & (seen[:, 2] < 40) & (np.abs(image) < [0.8, 0.6]).all(axis=1)
    many = np.bincount(point[inside], minlength=N_POINTS) >= 2
    rows = np.flatnonzero(inside & many[point])
    noise = np.random.default_rng(3).normal(0, 0.0007, (len(rows), 2))
    return Sightings(photo=photo[rows], point=point[rows], bearing=image[rows] + noise, lens=lens)


def rough(truth: Bundle, seed: int = 4) -> Bundle:
    rng = np.random.default_rng(seed)
    heading = np.degrees(np.arctan2(truth.rotation[:, 2, 0], truth.rotation[:, 2, 1]))
    return Bundle(
        rotation=upright(heading + rng.normal(0, 1.5, N_PHOTOS)),
        centre_m=np.c_[
            truth.centre_m[:, :2] + rng.normal(0, 0.7, (N_PHOTOS, 2)), np.zeros(N_PHOTOS)
        ],
        point_m=truth.point_m + rng.normal(0, 1.5, truth.point_m.shape),
        focal=np.ones(1),
        radial=np.zeros(1),
    )


def solve(start: Bundle, sightings: Sightings, gps_m: np.ndarray) -> Bundle:
    along = np.stack([np.arange(N_PHOTOS - 1), np.arange(1, N_PHOTOS)], axis=1)
    return adjust_bundle(start, sightings, gps_m=gps_m, gps_sigma_m=2.0, along=along)


def gps_of(truth: Bundle) -> np.ndarray:
    """Places with one error for the whole drive and a bit of noise; heights unknown."""
    noise = np.random.default_rng(6).normal(0, 0.5, (N_PHOTOS, 2))
    return np.c_[truth.centre_m[:, :2] + [1.5, -1.0] + noise, np.zeros(N_PHOTOS)]


def steps(bundle: Bundle) -> np.ndarray:
    return bundle.centre_m[1:] - bundle.centre_m[:-1]


def test_neighbours_find_their_places_to_each_other(truth, sightings):
    start = rough(truth)
    solved = solve(start, sightings, gps_of(truth))
    before = np.linalg.norm(steps(start) - steps(truth), axis=1)
    after = np.linalg.norm(steps(solved) - steps(truth), axis=1)
    assert np.median(before) > 0.7
    assert np.median(after) < 0.1
    assert np.median(solved.misses(sightings)) < 0.0015


def test_rotations_become_those_of_the_cameras(truth, sightings):
    solved = solve(rough(truth), sightings, gps_of(truth))
    turn = Rotation.from_matrix(solved.rotation @ truth.rotation.transpose(0, 2, 1)).magnitude()
    assert np.degrees(np.median(turn)) < 1.0
    np.testing.assert_allclose(np.linalg.det(solved.rotation), 1.0, atol=1e-9)


def test_a_tenth_of_false_sightings_moves_nothing(truth, sightings):
    rng = np.random.default_rng(7)
    wrong = rng.random(len(sightings.photo)) < 0.1
    false = np.where(wrong[:, None], rng.uniform(-0.6, 0.6, (len(wrong), 2)), sightings.bearing)
    solved = solve(rough(truth), replace(sightings, bearing=false), gps_of(truth))
    assert np.median(np.linalg.norm(steps(solved) - steps(truth), axis=1)) < 0.1


def test_photos_without_sightings_stay_where_gps_puts_them(truth, sightings):
    few = sightings.photo != 5
    kept = replace(
        sightings,
        photo=sightings.photo[few], point=sightings.point[few], bearing=sightings.bearing[few],
    )  # fmt: skip
    gps_m = gps_of(truth)
    solved = solve(replace(rough(truth), centre_m=gps_m), kept, gps_m)
    assert np.isfinite(solved.centre_m).all()
    assert np.hypot(*(solved.centre_m[5] - gps_m[5])[:2]) < 1.5


def test_a_focal_length_that_is_wrong_by_a_fifth_is_found(truth, sightings):
    wide = replace(sightings, bearing=sightings.bearing * 0.8)
    solved = solve(rough(truth), wide, gps_of(truth))
    assert abs(solved.focal[0] - 0.8) < 0.04
    assert np.median(np.linalg.norm(steps(solved) - steps(truth), axis=1)) < 0.3


def test_a_lens_that_bends_the_rim_is_found(truth, sightings):
    count = len(sightings.photo)
    bent = bend(sightings.bearing, np.full(count, 0.8), np.full(count, -0.2))
    solved = solve(rough(truth), replace(sightings, bearing=bent), gps_of(truth))
    assert abs(solved.focal[0] - 0.8) < 0.04
    assert abs(solved.radial[0] + 0.2) < 0.05
    assert np.median(np.linalg.norm(steps(solved) - steps(truth), axis=1)) < 0.3


def test_straightened_points_are_where_they_were():
    image = np.random.default_rng(8).uniform(-0.8, 0.8, (500, 2))
    focal, radial = np.full(500, 0.9), np.full(500, -0.15)
    bent = bend(image, focal, radial)
    assert np.abs(bent - image).max() > 0.1
    np.testing.assert_allclose(straighten(bent, focal, radial), image, atol=0.002)


def test_the_same_input_gives_the_same_bits(truth, sightings):
    one, two = (solve(rough(truth), sightings, gps_of(truth)) for _ in range(2))
    assert one.centre_m.tobytes() == two.centre_m.tobytes()
    assert one.rotation.tobytes() == two.rotation.tobytes()


def test_upright_cameras_look_where_their_heading_says():
    rotation = upright(np.array([0.0, 90.0]))
    np.testing.assert_allclose(rotation[0] @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation[1] @ [1, 0, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation @ [0, 0, 1], [[0, -1, 0]] * 2, atol=1e-12)
