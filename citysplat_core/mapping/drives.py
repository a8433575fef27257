"""What the photos of one drive have in common: the bias of its GPS and how its camera is mounted.

One drive, one receiver, one mount: an error that all positions of a drive share would bend a city
that takes each position for itself, and a camera that hangs askew would tilt it. Both are unknowns
of the drive. A drive has a block of seven numbers like a component, so that one sparse matrix holds
all: how far the right axis of its photos points up (roll), how far their view does (pitch), two
that are not used, and the bias of its positions in metres.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.slopes import cross_matrices

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TILTED = 0.3
"""Beyond this (17 degrees) a mount is meant to be so: photos that look down, or lie on the side."""


def raised_axes(turn: Rotation, rotation: Rotation) -> tuple[Floats, Floats]:
    """Give the right and the forward axis of cameras after alignment, each of shape (L, 3).

    Args:
        turn: The turn of each camera's component.
        rotation: ``cam_from_world`` before alignment.
    """
    back = rotation.inv()
    return turn.apply(back.apply([1.0, 0.0, 0.0])), turn.apply(back.apply([0.0, 0.0, 1.0]))


def usual_mounts(rotation: Rotation, drive: Ints, n_drives: int) -> Floats:
    """Say around which roll and pitch the mount of each drive is expected, shape (n_drives, 2).

    Args:
        rotation: ``cam_from_world`` of cameras.
        drive: The drive of each.
        n_drives: Number of drives.

    Returns:
        Heights of the unit axes: 0 for a camera that is held upright, the median of the drive where
        that is far from upright.
    """
    right, forward = raised_axes(Rotation.identity(), rotation)
    found = np.zeros((n_drives, 2))
    for k in np.unique(drive[drive >= 0]):
        mine = drive == k
        found[k] = np.median(right[mine, 2]), np.median(forward[mine, 2])
    return np.where(np.abs(found) > _TILTED, found, 0.0)


def lean(right: Floats, forward: Floats, mounts: Floats, shake_deg: float) -> Floats:
    """Say by how much cameras lean otherwise than their mount, in expected errors, shape (L, 3).

    Args:
        right: Right axes after alignment, shape (L, 3).
        forward: Forward axes, shape (L, 3).
        mounts: Blocks of the cameras' drives, shape (L, 7).
        shake_deg: Expected deviation from the mount.
    """
    off = np.stack([right[:, 2], forward[:, 2], np.zeros(len(right))], axis=1)
    off[:, :2] -= mounts[:, :2]
    return np.asarray(off / np.radians(shake_deg))


def lean_slopes(right: Floats, forward: Floats, turns: Floats, shake_deg: float) -> Floats:
    """Give the derivatives of ``lean`` by component and drive, shape (L, 3, 2, 7).

    Args:
        right: As for ``lean``.
        forward: As for ``lean``.
        turns: ``turn_slopes`` of the cameras' components, shape (L, 3, 3).
        shake_deg: As for ``lean``.
    """
    slopes = np.zeros((len(right), 3, 2, 7))
    for row, axis in enumerate((right, forward)):
        slopes[:, row, 0, 1:4] = (-cross_matrices(axis) @ turns)[:, 2]
        slopes[:, row, 1, row] = -1.0
    return np.asarray(slopes / np.radians(shake_deg))
