import numpy as np
import pytest

from citysplat_core.imagery.panorama import Coverage, View, view_from_panorama, views_of_rig
from citysplat_core.imagery.panorama.rig import is_covered, sphere_shares, view_rays
from citysplat_core.imagery.panorama.telling import WHOLE_SPHERE
from citysplat_core.settings import PanoramaSettings


def test_a_view_turns_right_by_its_yaw_and_up_by_its_pitch():
    ahead = view_from_panorama(90.0, 0.0)[2]
    np.testing.assert_allclose(ahead, [1, 0, 0], atol=1e-12)
    up = view_from_panorama(0.0, 30.0)[2]
    np.testing.assert_allclose(up, [0, -0.5, np.cos(np.radians(30))], atol=1e-12)
    right = view_from_panorama(40.0, 30.0)[0]
    assert right[1] == pytest.approx(0.0)  # views are level: no roll


def test_directions_fall_where_an_equirectangular_picture_has_them():
    ahead, right, back, zenith = np.array([[0, 0, 1], [1, 0, 0], [0, 0, -1.0], [0, -1, 0]], float)
    shares = sphere_shares(np.stack([ahead, right, zenith]))
    np.testing.assert_allclose(shares, [[0.5, 0.5], [0.75, 0.5], [0.5, 0.0]])
    assert sphere_shares(back)[0] % 1.0 == pytest.approx(0.0)


def test_the_middle_of_a_view_looks_along_its_yaw_and_its_edges_half_the_field_of_view_aside():
    view = views_of_rig(PanoramaSettings(pitch_deg=0.0, field_of_view_deg=80.0), None)[1]
    x = np.array([0.0, view.width / 2, view.width])
    across = sphere_shares(view_rays(view, x, np.full(3, view.height / 2)))[:, 0]
    np.testing.assert_allclose((across - 0.5) * 360.0, [20.0, 60.0, 100.0], atol=1e-9)


def test_a_small_panorama_gives_smaller_views_with_the_same_angle():
    settings = PanoramaSettings()
    full, small = views_of_rig(settings, 5760)[0], views_of_rig(settings, 2048)[0]
    assert (full.width, full.height) == (1024, 768)
    assert (small.width, small.height) == (648, 486)
    assert small.focal_ratio == full.focal_ratio == pytest.approx(0.5)


def test_all_views_of_the_rig_are_of_one_camera():
    views = views_of_rig(PanoramaSettings(yaw_deg=(0.0, 90.0, 200.0)), 5760)
    assert [view.yaw_deg for view in views] == [0.0, 90.0, 200.0]
    assert len({(v.width, v.height, v.focal_ratio, v.pitch_deg) for v in views}) == 1


def test_an_upright_view_has_its_focal_ratio_by_its_longer_side():
    view = views_of_rig(PanoramaSettings(view_width_px=600, view_height_px=900), None)[0]
    assert view.focal_px == pytest.approx(300.0)
    assert view.focal_ratio == pytest.approx(1 / 3)


def test_a_crop_covers_only_the_views_that_it_shows_whole():
    view = View(yaw_deg=0.0, pitch_deg=0.0, width=400, height=200, focal_ratio=0.5)
    behind = View(yaw_deg=180.0, pitch_deg=0.0, width=400, height=200, focal_ratio=0.5)
    half = Coverage(left=0.25, width=0.5)
    assert is_covered(view, WHOLE_SPHERE)
    assert is_covered(view, half)
    assert not is_covered(behind, half)
    assert not is_covered(view, Coverage(left=0.4, width=0.2))
    assert is_covered(behind, Coverage(top=0.3, height=0.4))
    assert not is_covered(view, Coverage(top=0.45, height=0.1))
