"""What a lens does to an image point: how far it is from what the camera is said to be.

One focal length and one radial term, beside those that the photo's camera already has. Many cameras
of street photos are known by their model's name alone: then the focal length is off by a third and
the bend at the rim by a tenth.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_LEAST_STRETCH: Final = 0.3
"""Beyond this a radial term folds the image over itself."""
_ROUNDS: Final = 6


def stretch_of(
    image: NDArray[np.float64], radial: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return by how much points are moved out, and their squared distances, shapes (O,)."""
    square = (image**2).sum(axis=-1)
    return np.maximum(1.0 + radial * square, _LEAST_STRETCH), square


def bend(
    image: NDArray[np.float64], focal: NDArray[np.float64], radial: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return where a lens puts points, as tangents of the supposed camera.

    Args:
        image: True tangents (x right, y down), shape (O, 2).
        focal: True focal length as a share of the supposed one, shape (O,).
        radial: First radial term (``k1`` of OpenCV's model), shape (O,).
    """
    return np.asarray(image * (focal * stretch_of(image, radial)[0])[:, None])


def straighten(
    bearing: NDArray[np.float32], focal: NDArray[np.float64], radial: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return the true tangents of points of the supposed camera; undoes `bend`.

    Args:
        bearing: Tangents by the supposed camera, shape (O, 2).
        focal: As for `bend`, shape (O,).
        radial: As for `bend`, shape (O,).
    """
    seen = bearing / focal[:, None]
    image = seen
    for _ in range(_ROUNDS if np.any(radial) else 0):
        image = seen / stretch_of(image, radial)[0][:, None]
    return np.asarray(image, dtype=np.float32)
