import numpy as np
import pytest

from citysplat_core.simulation import build_town, plan_captures, render
from citysplat_core.simulation.cameras import pixel_rays


def _points(capture, view):
    """World points of all pixels."""
    rays = pixel_rays(capture.camera)
    depth = np.where(np.isfinite(view.depth_m), view.depth_m, 1e6).astype(float)[..., None]
    local = np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1) * depth
    return local @ capture.rotation + capture.centre


def _pixels(capture, world):
    """Pixels (pixel centres at +0.5) and z-depths of world points."""
    camera = capture.camera
    local = (world - capture.centre) @ capture.rotation.T
    flat = local[..., :2] / np.maximum(local[..., 2:], 0.05)
    r2 = (flat**2).sum(-1, keepdims=True)
    flat = flat * (1 + camera.k1 * r2 + camera.k2 * r2**2)
    return flat * camera.focal_px + [camera.width / 2, camera.height / 2], local[..., 2]


@pytest.fixture(scope="module")
def views(town, drive):
    return [render(town, capture) for capture in drive[:2]]


def test_rendering_is_deterministic_and_independent_of_threads(town, drive, views):
    again = render(town, drive[0], n_threads=2)
    np.testing.assert_array_equal(again.rgb, views[0].rgb)
    np.testing.assert_array_equal(again.depth_m, views[0].depth_m)


def test_depth_and_colour_of_one_view_agree_with_the_next(drive, views):
    near = np.isfinite(views[0].depth_m) & (views[0].depth_m < 30)
    world = _points(drive[0], views[0])[near]
    pixels, depth = _pixels(drive[1], world)
    camera = drive[1].camera
    column, row = np.floor(pixels).astype(int).T
    seen = (
        (depth > 0.5) & (column >= 0) & (row >= 0) & (column < camera.width) & (row < camera.height)
    )
    seen &= (column > 0) & (pixels[:, 0] > 0)
    column, row, depth = column[seen], row[seen], depth[seen]
    there = views[1].depth_m[row, column]
    agrees = np.abs(there - depth) < 0.03 * depth + 0.05
    assert seen.sum() > 5_000
    assert agrees.mean() > 0.8  # the rest is hidden, moving, or at a slant
    before = views[0].rgb[near][seen][agrees].astype(float)
    after = views[1].rgb[row, column][agrees].astype(float)
    assert np.median(np.abs(before - after)) < 12
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.85


def test_the_ground_lies_at_height_zero(drive, views):
    world = _points(drive[0], views[0])
    low = world[-1, world.shape[1] // 2]
    assert -0.01 < low[2] < 1.2


def test_the_sky_is_infinitely_far(views):
    depth = views[0].depth_m
    assert np.isinf(depth).any()
    assert not np.isnan(depth).any()
    assert depth.min() > 0.3


def test_streets_fill_most_of_the_picture_with_detail(views):
    for view in views:
        grey = view.rgb.astype(float).mean(axis=2)
        assert grey.std() > 20
        assert np.isfinite(view.depth_m).mean() > 0.5


def test_traffic_moves_but_houses_stay(town, drive):
    quiet = build_town(town.settings.model_copy(update={"moving_cars": 0.0}))
    still = next(c for c in plan_captures(quiet) if c.image_id == drive[0].image_id)
    empty, full = render(quiet, still), render(town, drive[0])
    changed = (empty.rgb != full.rgb).any(axis=2).mean()
    assert changed < 0.5


def test_a_slope_keeps_walls_upright_and_depth_true(town):
    tilted = build_town(town.settings.model_copy(update={"slope_north": 0.06}))
    capture = plan_captures(tilted)[0]
    view = render(tilted, capture)
    world = _points(capture, view)[np.isfinite(view.depth_m)]
    town_xyz = world @ tilted.town_from_enu.T
    assert (np.abs(town_xyz[:, 2]) < 0.02).mean() > 0.1  # road at z = 0 of the sheared frame
    assert town_xyz[:, 2].min() > -0.01
