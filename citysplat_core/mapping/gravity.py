"""Which way is up in a model that knows nothing of gravity."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDS = 10
_UPRIGHT_DEG = 3.0
_FLAT_RATIO = 25.0


def up_candidates(rotations: Floats, centers: Floats) -> dict[str, Floats]:
    """Propose up vectors of a model; the positions decide between them.

    Args:
        rotations: ``cam_from_world`` rotations, COLMAP axes (x right, y down, z forward), shape
            (N, 3, 3).
        centers: Camera centres in the model frame, shape (N, 3).

    Returns:
        Unit vectors by name, the most trusted first: ``upright`` (cameras are held upright),
        ``nadir`` (they look down; only if they all look one way) and ``plane`` with both signs
        (they move in a level plane; only if they do not stand in a line).
    """
    found = {"upright": upright(rotations)}
    forward = rotations[:, 2, :]
    mean = _unit(np.median(forward, axis=0))
    if np.median(forward @ mean) > np.cos(np.radians(25)):
        found["nadir"] = -mean
    spread, axes = np.linalg.svd(centers - np.median(centers, axis=0), full_matrices=False)[1:]
    if len(centers) >= 6 and spread[1] ** 2 * _FLAT_RATIO > spread[0] ** 2 > 0:
        found["plane"], found["plane below"] = axes[2], -axes[2]
    return found


def upright(rotations: Floats) -> Floats:
    """Give the up vector of cameras that are held upright.

    The x axes of such cameras are level whatever they look at, so up is the direction that is
    square to all of them; the y axes settle the sign, and the direction too where all x axes are
    parallel (a straight street).

    Args:
        rotations: ``cam_from_world`` rotations, shape (N, 3, 3).

    Returns:
        Unit vector in the model frame, shape (3,).
    """
    level = rotations[:, 0, :]
    raised = _unit(np.median(-rotations[:, 1, :], axis=0))
    weights = np.ones(len(level))
    up = raised
    for _ in range(_ROUNDS):
        spread = (level * weights[:, None]).T @ level / weights.sum()
        up = np.linalg.eigh(spread - 0.2 * np.outer(raised, raised))[1][:, 0]
        up = up if up @ raised > 0 else -up
        tilt_deg = np.degrees(np.arcsin(np.clip(level @ up, -1, 1)))
        weights = 1 / (1 + (tilt_deg / _UPRIGHT_DEG) ** 2)
    return np.asarray(up)


def rotation_to_z(up: Floats) -> Floats:
    """Give the smallest rotation that turns a unit vector onto +z, shape (3, 3)."""
    cosine = float(up[2])
    x, y = float(up[1]), float(-up[0])  # up x z
    if x * x + y * y < 1e-20:
        return np.eye(3) if cosine > 0 else np.diag([1.0, -1.0, -1.0])
    cross = np.array([[0, 0, y], [0, 0, -x], [-y, x, 0]])
    # (1 - c) / sin^2 = 1 / (1 + c): the form that does not cancel, whatever the sign.
    share = 1 / (1 + cosine) if cosine > 0 else (1 - cosine) / (x * x + y * y)
    return np.asarray(np.eye(3) + cross + share * cross @ cross)


def _unit(vector: Floats) -> Floats:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-9 else np.array([0.0, 0.0, 1.0])
