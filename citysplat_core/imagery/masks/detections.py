"""Masks out of what a service has detected in its photos."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from citysplat_core.imagery.masks.polygons import detection_rings
from citysplat_core.storage import Progress

Mask = NDArray[np.bool_]

_SUB = 4  # bits of a pixel that outlines are drawn with


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One thing that was detected in a photo.

    Attributes:
        value: What it is, as ``object--vehicle--car``.
        geometry: Its outline, base64 of a vector tile.
    """

    value: str
    geometry: str


@runtime_checkable
class DetectionSource(Protocol):
    """A source of photos that also has detections."""

    def fetch_detections(
        self, image_ids: Sequence[str], *, progress: Progress
    ) -> dict[str, tuple[Detection, ...] | str]:
        """Return what was detected in each photo, or why that cannot be said.

        What was asked before comes from the cache.

        Args:
            image_ids: The photos.
            progress: Called with photos done and photos in all.

        Raises:
            DiscoveryError: Most photos fail: the service is down; or TokenError, BlockedError.
        """
        ...


def is_wanted(value: str, wanted: Iterable[str]) -> bool:
    """Say whether a value is one of those wanted, or a kind of one of them."""
    return any(value == name or value.startswith(f"{name}--") for name in wanted)


def detected_region(
    detections: Iterable[Detection], wanted: Iterable[str], *, width: int, height: int
) -> Mask:
    """Draw the detections that are to be ignored.

    Args:
        detections: All detections of a photo.
        wanted: Values to ignore, see ``is_wanted``.
        width: Of the photo, pixels.
        height: Of the photo, pixels.

    Returns:
        True inside them, shape (H, W).

    Raises:
        ImageError: A geometry cannot be read.
    """
    region = np.zeros((height, width), np.uint8)
    names = tuple(wanted)
    scale = np.array([width, height], np.float64)
    for detection in detections:
        if not is_wanted(detection.value, names):
            continue
        rings = [
            np.rint((ring.clip(-1, 2) * scale - 0.5) * 2**_SUB).astype(np.int32)
            for ring in detection_rings(detection.geometry)
        ]
        if rings:
            drawn = np.zeros_like(region)
            cv2.fillPoly(drawn, rings, 1, lineType=cv2.LINE_8, shift=_SUB)
            region |= drawn
    return np.asarray(region > 0)
