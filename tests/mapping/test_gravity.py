import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.gravity import rotation_to_z, up_candidates, upright


@given(st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 1e-3))
def test_the_rotation_turns_any_direction_to_z(vector):
    up = np.array(vector) / np.linalg.norm(vector)
    turn = rotation_to_z(up)
    assert turn @ up == pytest.approx([0, 0, 1], abs=1e-6)
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-6)
    assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-6)


def rotations(street):
    return np.array([pose.rotation.matrix() for pose in street.poses])


def test_up_of_a_straight_street_is_up(make_street):
    street = make_street(n_photos=12)
    assert np.degrees(np.arccos(upright(rotations(street))[2])) < 1.5


def test_one_camera_held_sideways_does_not_tip_the_others(make_street):
    street = make_street(n_photos=12, corners=((0, 0), (40, 0), (40, 40)))
    turned = rotations(street)
    turned[3] = Rotation.from_euler("z", 90, degrees=True).as_matrix() @ turned[3]
    assert np.degrees(np.arccos(upright(turned)[2])) < 2


def test_a_line_of_cameras_defines_no_plane(make_street):
    street = make_street()
    found = up_candidates(rotations(street), street.centers)
    assert "plane" not in found
    assert next(iter(found)) == "upright"
