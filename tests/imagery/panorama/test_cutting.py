"""Views are compared with the same ray caster's perspective picture from the same pose."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from citysplat_core.errors import ImageError
from citysplat_core.imagery.panorama import (
    WHOLE_SPHERE,
    Coverage,
    View,
    cut_view,
    encode_view,
    read_panorama,
    view_from_panorama,
)
from citysplat_core.simulation import TownSettings, build_town, plan_captures, render
from citysplat_core.simulation.cameras import Camera

WIDTH = 1440


@pytest.fixture(scope="module")
def shot():
    town = build_town(
        TownSettings(
            n_photos=40, panorama_share=1.0, panorama_width_px=WIDTH, dusk_share=0.0,
            moving_cars=0.0, sideways_share=0.0, pedestrian_share=0.0,
        )
    )  # fmt: skip
    capture = plan_captures(town)[3]
    return town, capture, render(town, capture).rgb


def rendered(town, capture, view):
    """What a perspective camera sees where the view says that it stands and looks."""
    camera = Camera(
        name="pinhole", make="", model="", full_width=view.width, full_height=view.height,
        width=view.width, height=view.height, focal_px=view.focal_px, k1=0.0, k2=0.0,
    )  # fmt: skip
    rotation = view_from_panorama(view.yaw_deg, view.pitch_deg) @ capture.rotation
    sequence = replace(capture.sequence, camera=camera)
    return render(town, replace(capture, sequence=sequence, rotation=rotation)).rgb


def psnr_db(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.mark.parametrize(("yaw_deg", "width", "least_db"), [(60.0, 448, 30.0), (180.0, 256, 30.0)])
def test_a_cut_view_is_what_a_perspective_camera_sees_there(shot, yaw_deg, width, least_db):
    town, capture, panorama = shot
    view = View(yaw_deg=yaw_deg, pitch_deg=5.0, width=width, height=width * 3 // 4, focal_ratio=0.5)
    cut, truth = cut_view(panorama, WHOLE_SPHERE, view), rendered(town, capture, view)
    assert psnr_db(cut, truth) > least_db
    gray = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (cut, truth)]
    (dx, dy), _ = cv2.phaseCorrelate(*gray, cv2.createHanningWindow(gray[0].shape[::-1], 5))
    assert abs(dx) < 0.1
    assert abs(dy) < 0.1


def test_a_view_across_the_seam_is_the_view_of_the_turned_panorama(shot):
    _, _, panorama = shot
    behind = View(yaw_deg=180.0, pitch_deg=0.0, width=256, height=192, focal_ratio=0.5)
    ahead = replace(behind, yaw_deg=0.0)
    turned = np.roll(panorama, WIDTH // 2, axis=1)
    across = cut_view(panorama, WHOLE_SPHERE, behind).astype(int)
    assert np.abs(across - cut_view(turned, WHOLE_SPHERE, ahead)).max() <= 1  # rounding of places


def test_a_crop_gives_the_view_of_the_whole(shot):
    _, _, panorama = shot
    view = View(yaw_deg=30.0, pitch_deg=0.0, width=256, height=160, focal_ratio=0.6)
    height, left, top = WIDTH // 2, WIDTH // 4, WIDTH // 8
    part = panorama[top : top + height // 2, left : left + WIDTH // 2]
    crop = Coverage(left=0.25, top=0.25, width=0.5, height=0.5)
    whole = cut_view(panorama, WHOLE_SPHERE, view)
    assert psnr_db(cut_view(part, crop, view), whole) > 45  # OpenCV rounds places to 1/32 pixel


def test_fine_stripes_become_grey_and_not_other_stripes():
    stripes = np.zeros((720, 1440, 3), np.uint8)
    stripes[:, ::2] = 255
    view = View(yaw_deg=0.0, pitch_deg=0.0, width=96, height=72, focal_ratio=0.5)
    middle = cut_view(stripes, WHOLE_SPHERE, view)[20:52, 24:72]
    assert middle.mean() == pytest.approx(127.5, abs=6)
    assert middle.std() < 25


def test_cutting_is_deterministic_and_survives_jpeg(shot):
    _, _, panorama = shot
    view = View(yaw_deg=0.0, pitch_deg=5.0, width=320, height=240, focal_ratio=0.5)
    cut = cut_view(panorama, WHOLE_SPHERE, view)
    np.testing.assert_array_equal(cut, cut_view(panorama, WHOLE_SPHERE, view))
    assert encode_view(cut) == encode_view(cut)
    assert psnr_db(read_panorama(encode_view(panorama), WHOLE_SPHERE), panorama) > 30


def test_a_file_that_is_no_equirectangular_picture_or_damaged_is_refused():
    body = encode_view(np.zeros((96, 128, 3), np.uint8))
    with pytest.raises(ImageError, match="128 x 96 pixels"):
        read_panorama(body, WHOLE_SPHERE)
    with pytest.raises(ImageError, match="damaged panorama"):
        read_panorama(body[:300], WHOLE_SPHERE)
