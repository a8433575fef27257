import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.angles import matrices_of, turn_between_deg, view_angles_deg

LEVEL = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])  # looks north, upright


def camera(heading_deg, pitch_deg, roll_deg):
    turn = Rotation.from_euler("z", heading_deg, degrees=True).as_matrix()
    nod = Rotation.from_euler("x", -pitch_deg, degrees=True).as_matrix()
    hold = Rotation.from_euler("z", -roll_deg, degrees=True).as_matrix()
    return hold @ nod @ LEVEL @ turn


@pytest.mark.parametrize("angles", [(0, 0, 0), (90, 20, 0), (200, -35, 10), (359, 5, -80)])
def test_angles_are_those_the_camera_was_turned_by(angles):
    found = view_angles_deg(camera(*angles)[None])[0]
    assert found == pytest.approx(angles, abs=1e-9)


def test_pitch_is_up_and_roll_is_clockwise():
    up = camera(0, 30, 0)
    assert up[2] == pytest.approx([0, np.cos(np.pi / 6), 0.5])  # the axis rises
    rolled = camera(0, 0, 30)
    assert rolled[0][2] == pytest.approx(-0.5)  # the right side points down


def test_a_camera_that_looks_down_heads_where_the_top_of_its_photo_points():
    found = view_angles_deg(camera(70, -90, 0)[None])[0]
    assert found == pytest.approx([70, -90, 0], abs=1e-6)


def test_quaternions_are_read_with_w_first():
    turn = Rotation.from_euler("zyx", [10, 20, 30], degrees=True)
    x, y, z, w = turn.as_quat()
    assert matrices_of(np.array([[w, x, y, z]]))[0] == pytest.approx(turn.as_matrix())
    assert matrices_of(np.zeros((0, 4))).shape == (0, 3, 3)


def test_turns_go_the_short_way():
    assert turn_between_deg([350.0, 10, np.nan], [10.0, 350, 0]) == pytest.approx(
        [20, 20, np.nan], nan_ok=True
    )
