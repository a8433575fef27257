from itertools import pairwise

import cv2
import numpy as np
import pytest

from citysplat_core.simulation import (
    TownSettings,
    build_town,
    photo,
    photo_jpeg,
    plan_captures,
)
from citysplat_core.simulation.exposure import _banner, _blur, _bonnet


def _skew(v):
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


def _rays(capture, pixels):
    """Undistorted directions of pixels by fixed-point iteration, independent of the renderer."""
    camera = capture.camera
    bent = (pixels - [camera.width / 2, camera.height / 2]) / camera.focal_px
    flat = bent.copy()
    for _ in range(50):
        r2 = (flat**2).sum(1, keepdims=True)
        flat = bent / (1 + camera.k1 * r2 + camera.k2 * r2**2)
    return np.column_stack([flat, np.ones(len(flat))])


def _true_matches(town, a, b):
    """Count SIFT matches within two pixels of the epipolar line that the true poses give."""
    sift = cv2.SIFT_create(4000)
    found = [
        sift.detectAndCompute(cv2.cvtColor(photo(town, c), cv2.COLOR_RGB2GRAY), None)
        for c in (a, b)
    ]
    pairs = cv2.BFMatcher().knnMatch(found[0][1], found[1][1], k=2)
    good = [m for m, n in pairs if m.distance < 0.8 * n.distance]
    first = np.array([found[0][0][m.queryIdx].pt for m in good]) + 0.5
    second = np.array([found[1][0][m.trainIdx].pt for m in good]) + 0.5
    turn = b.rotation @ a.rotation.T
    essential = _skew(b.rotation @ (a.centre - b.centre)) @ turn
    lines = _rays(a, first) @ essential.T
    off = np.abs((lines * _rays(b, second)).sum(1)) / np.hypot(lines[:, 0], lines[:, 1])
    return int((off * b.camera.focal_px < 2).sum()), len(found[0][0])


def test_neighbouring_photos_match_as_the_true_poses_say():
    town = build_town(TownSettings(n_photos=200))
    captures = plan_captures(town)
    plain = [
        (a, b) for a, b in pairwise(captures)
        if a.sequence is b.sequence and a.sequence.overlay == "none"
        and not a.sequence.is_dusk and not a.is_blurred and not b.is_blurred
    ]  # fmt: skip
    for a, b in (plain[4], plain[len(plain) // 2]):
        n_true, n_keypoints = _true_matches(town, a, b)
        assert n_keypoints > 800
        assert n_true > 100


def test_photos_are_deterministic(town, captures):
    assert photo_jpeg(town, captures[0]) == photo_jpeg(town, captures[0])


def test_dusk_is_darker_than_day(town, drive):
    dark = build_town(town.settings.model_copy(update={"dusk_share": 1.0}))
    dusk = next(c for c in plan_captures(dark) if c.image_id == drive[0].image_id)
    assert photo(dark, dusk).mean() < 0.8 * photo(town, drive[0]).mean()


def test_blur_removes_detail_and_keeps_the_light():
    rng = np.random.default_rng(0)
    light = rng.random((120, 160, 3)).astype(np.float32)
    soft = _blur(rng, light)
    assert soft.std() < 0.6 * light.std()
    assert soft.mean() == pytest.approx(light.mean(), rel=0.02)


def test_a_bonnet_is_the_same_in_every_photo_of_a_sequence(drive):
    dark, bright = (np.full((120, 160, 3), v, np.float32) for v in (0.1, 0.9))
    one, two = _bonnet(drive[0].sequence, dark), _bonnet(drive[0].sequence, bright)
    np.testing.assert_array_equal(one[-3:, 60:100], two[-3:, 60:100])
    np.testing.assert_array_equal(one[:60], dark[:60])


def test_a_banner_covers_the_bottom_only(drive):
    picture = np.full((240, 320, 3), 128, np.uint8)
    marked = _banner(drive[0].sequence, picture)
    assert (marked[:200] == 128).all()
    assert marked[-6:].std() > 10
