"""One view as a flat vector of doubles, the form that the kernels read."""

import numpy as np
from numpy.typing import NDArray

# Where things lie in the vector; the rotation fills 0 to 8, row by row.
SHIFT, FX, FY, CX, CY, WIDTH, HEIGHT, NEAR, AA, CENTRE = 9, 12, 13, 14, 15, 16, 17, 18, 19, 20


def pack_camera(
    viewmat: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    width: int,
    height: int,
    *,
    near: float,
    antialiased: bool,
) -> NDArray[np.float64]:
    """Pack one view for the kernels.

    Args:
        viewmat: ``camera_from_world``, shape (4, 4).
        intrinsics: Pinhole matrix in pixels, shape (3, 3).
        width: Image width, pixels.
        height: Image height, pixels.
        near: Smallest depth that is drawn, in world units.
        antialiased: Whether opacity makes up for the 2-D blur.

    Returns:
        Rotation (9), translation (3), fx, fy, cx, cy, width, height, near, flag, centre (3).
    """
    rotation, translation = viewmat[:3, :3], viewmat[:3, 3]
    focal = (intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2])
    rest = (*focal, width, height, near, float(antialiased))
    centre = -rotation.T @ translation
    return np.concatenate([rotation.ravel(), translation, np.array(rest), centre])


def view_gradient(camera: NDArray[np.float64], blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum the blocks and add the path through the camera centre.

    Args:
        camera: The packed camera.
        blocks: Per-block sums: rotation (9), translation (3), centre (3); shape (B, 15).

    Returns:
        Gradient of ``camera_from_world``, shape (4, 4), last row zero.
    """
    total = blocks.sum(axis=0)
    rotation, translation = camera[:9].reshape(3, 3), camera[9:12]
    out = np.zeros((4, 4))
    out[:3, :3] = total[:9].reshape(3, 3) - np.outer(translation, total[12:])
    out[:3, 3] = total[9:12] - rotation @ total[12:]
    return out
