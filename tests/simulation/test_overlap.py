from dataclasses import replace

import numpy as np
import pytest

from citysplat_core.simulation import TownSettings, build_town, plan_captures, render
from citysplat_core.simulation.cameras import pixel_rays
from citysplat_core.simulation.overlap import (
    Sight,
    kept_depth,
    measure_overlaps,
    near_pairs,
    true_matches,
)


@pytest.fixture(scope="module")
def wide_town():
    """Photos of the usual size: depth is kept at every eighth pixel of any size."""
    return build_town(TownSettings(n_photos=120, seed=11))


@pytest.fixture(scope="module")
def street(wide_town):
    """Photos of one street, looking along it."""
    return plan_captures(wide_town)[:4]


@pytest.fixture(scope="module")
def views(wide_town, street):
    return [render(wide_town, capture) for capture in street]


@pytest.fixture(scope="module")
def sights(street, views):
    return [Sight(capture, kept_depth(view)) for capture, view in zip(street, views, strict=True)]


def turned(sight):
    """The same place, looking the other way: its true depth is not asked."""
    back = np.diag([-1.0, 1.0, -1.0]) @ sight.capture.rotation
    return Sight(replace(sight.capture, rotation=back), sight.depth_m)


def pixels_of(capture, world):
    """Pixels of world points by the camera's own formula."""
    local = (world - capture.centre) @ capture.rotation.T
    flat = local[:, :2] / np.where(local[:, 2:] > 1, local[:, 2:], np.nan)
    r2 = (flat**2).sum(axis=1, keepdims=True)
    camera = capture.camera
    bent = flat * (1 + camera.k1 * r2 + camera.k2 * r2**2)
    return bent * camera.focal_px + [camera.width / 2, camera.height / 2]


@pytest.fixture(scope="module")
def matches(street, views):
    """Keypoints of the first photo, near and well inside, and where they are in the second."""
    camera = street[0].camera
    y, x = np.mgrid[40 : camera.height - 40 : 13, 40 : camera.width - 40 : 13]
    depth = views[0].depth_m[y, x]
    near = depth < 25
    rays = pixel_rays(camera)[y, x][near]
    local = np.concatenate([rays, np.ones((len(rays), 1))], axis=1) * depth[near][:, None]
    world = local @ street[0].rotation + street[0].centre
    second = pixels_of(street[1], world)
    size = np.array([street[1].camera.width, street[1].camera.height])
    inside = ((second > 0) & (second < size)).all(axis=1)
    first = np.stack([x[near], y[near]], axis=1) + 0.5
    return first[inside], second[inside]


def test_a_photo_and_itself_share_everything(sights):
    same = measure_overlaps([sights[0], sights[0]], np.array([[0, 1]]))
    np.testing.assert_allclose(same.shared, 1.0, atol=0.01)
    np.testing.assert_allclose(same.alike, same.shared)


def test_photos_farther_apart_on_a_street_share_less(sights):
    pairs = np.array([[0, 1], [0, 2], [0, 3]])
    overlaps = measure_overlaps(sights, pairs)
    np.testing.assert_array_equal(overlaps.pairs, pairs)
    shares = overlaps.shared.min(axis=1)
    assert shares[0] > shares[1] > shares[2] > 0.05
    assert (overlaps.alike <= overlaps.shared).all()


def test_photos_that_look_away_from_each_other_are_no_pair(sights):
    overlaps = measure_overlaps([sights[0], turned(sights[0])], np.array([[0, 1]]))
    assert len(overlaps.pairs) == 0


def test_a_surface_hidden_from_the_other_photo_is_not_shared(sights):
    wall = Sight(sights[1].capture, np.full_like(sights[1].depth_m, 0.6))
    assert len(measure_overlaps([sights[0], wall], np.array([[0, 1]])).pairs) == 0


def test_no_pair_gives_no_overlap(sights):
    overlaps = measure_overlaps(sights, np.zeros((0, 2), np.int64))
    assert overlaps.pairs.shape == overlaps.shared.shape == overlaps.alike.shape == (0, 2)


def test_near_pairs_are_all_pairs_within_the_radius(captures):
    pairs = near_pairs(captures, 30.0)
    centres = np.array([capture.centre[:2] for capture in captures])
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    np.testing.assert_array_equal(pairs, np.argwhere(np.triu(gaps <= 30.0, k=1)))


def test_matches_of_one_place_are_true(sights, matches):
    first, second = matches
    assert len(first) > 100
    assert true_matches(sights[0], first, sights[1], second).mean() > 0.97


def test_matches_of_two_places_are_false(sights, matches):
    first, second = matches
    moved = second + np.array([60.0, 0.0])  # as the next window of a facade
    assert true_matches(sights[0], first, sights[1], moved).mean() < 0.1


def test_a_match_in_the_sky_is_false(sights):
    sky = [Sight(sight.capture, np.full_like(sight.depth_m, np.inf)) for sight in sights[:2]]
    pixel = np.array([[100.0, 100.0]])
    assert not true_matches(sky[0], pixel, sky[0], pixel).any()
    assert true_matches(sights[0], pixel, sights[0], pixel).shape == (1,)
