"""What a service would detect in a town's photos: the outlines of the cars that move."""

import cv2
import numpy as np
from numpy.typing import NDArray

from citysplat_core.simulation.cameras import Camera
from citysplat_core.simulation.captures import Capture
from citysplat_core.simulation.town import Town
from citysplat_core.simulation.traffic import moving_cars

Outline = NDArray[np.float64]

_SEEN_M = 40.0
_NEAR_M = 0.3


def detected_cars(town: Town, capture: Capture) -> list[tuple[str, Outline]]:
    """Outline the moving cars within 40 metres of a photo.

    What stands before a car is not looked at: an outline shows where the car is.

    Args:
        town: The town.
        capture: One of its captures; panoramas have no detections.

    Returns:
        Mapillary's name of the thing, and its outline as shares of the photo's width and height,
        y down, shape (P, 2).
    """
    camera = capture.camera
    if camera.is_pano:
        return []
    found = []
    for solid in moving_cars(town, capture):
        sides = np.array([solid.low, solid.high])
        corners = np.array(
            [[sides[i, 0], sides[j, 1], sides[k, 2]] for i, j, k in np.ndindex(2, 2, 2)]
        )
        seen = (corners @ np.linalg.inv(town.town_from_enu).T - capture.centre) @ capture.rotation.T
        if (seen[:, 2] < _NEAR_M).any() or np.linalg.norm(seen.mean(axis=0)) > _SEEN_M:
            continue
        pixels = _projected(camera, seen)
        hull = cv2.convexHull(pixels.astype(np.float32))[:, 0].astype(np.float64)
        inside = np.clip(hull, 0, (camera.width, camera.height))
        if np.ptp(inside, axis=0).min() >= 2.0:
            found.append(("object--vehicle--car", inside / (camera.width, camera.height)))
    return found


def _projected(camera: Camera, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels of points in the camera's axes, shape (P, 2)."""
    flat = points[:, :2] / points[:, 2:]
    r2 = (flat**2).sum(axis=1, keepdims=True)
    bent = flat * (1 + camera.k1 * r2 + camera.k2 * r2 * r2)
    middle = np.array([camera.width / 2, camera.height / 2])
    return np.asarray(bent * camera.focal_px + middle)
