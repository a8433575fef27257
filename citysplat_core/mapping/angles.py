"""Angles that people read, out of camera poses: heading, pitch and roll."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]


def view_angles_deg(rotations: Floats) -> Floats:
    """Give where cameras look and how they are held.

    Args:
        rotations: Matrices camera (x right, y down, z forward) from East-North-Up, shape (N, 3, 3).

    Returns:
        Degrees, shape (N, 3): heading of the optical axis clockwise from north, 0 to 360; pitch,
        positive up; roll, positive when the photo's right side points down. For a camera that
        looks straight up or down the heading is that of the photo's top edge or bottom edge.
    """
    right, down, forward = rotations[:, 0], rotations[:, 1], rotations[:, 2]
    level = np.hypot(forward[:, 0], forward[:, 1])
    plumb = level < 1e-9
    # The top of a photo that looks down shows where its bearer went.
    ahead = np.where(plumb[:, None], down * np.sign(forward[:, 2:]), forward)
    heading = np.degrees(np.arctan2(ahead[:, 0], ahead[:, 1])) % 360.0
    pitch = np.degrees(np.arctan2(forward[:, 2], level))
    roll = np.where(plumb, 0.0, np.degrees(np.arctan2(-right[:, 2], -down[:, 2])))
    return np.stack([heading, pitch, roll], axis=1)


def matrices_of(quaternions: Floats) -> Floats:
    """Give rotation matrices, shape (N, 3, 3), of unit quaternions w, x, y, z, shape (N, 4)."""
    if not len(quaternions):
        return np.zeros((0, 3, 3))
    matrices: Floats = Rotation.from_quat(quaternions[:, [1, 2, 3, 0]]).as_matrix()
    return matrices


def turn_between_deg(first: Floats, second: Floats) -> Floats:
    """Give the difference of two headings, 0 to 180 degrees; NaN where one is unknown."""
    turn: Floats = np.abs((np.asarray(first) - np.asarray(second) + 180.0) % 360.0 - 180.0)
    return turn
