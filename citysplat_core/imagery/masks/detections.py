"""Masks out of what a service has detected in its photos."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from citysplat_core.imagery.masks.polygons import detection_rings
from citysplat_core.imagery.panorama import Coverage, View, cut_view
from citysplat_core.storage import Progress

Mask = NDArray[np.bool_]

_SUB = 4  # bits of a pixel that outlines are drawn with
_FULL_PX = 2048  # width that a whole panorama's detections are drawn in


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


def detected_in_view(
    detections: Iterable[Detection], wanted: Iterable[str], coverage: Coverage, view: View
) -> Mask:
    """Draw a panorama's detections as one of its perspective views sees them.

    Args:
        detections: All detections of the panorama.
        wanted: Values to ignore, see ``is_wanted``.
        coverage: What part of the sphere the panorama shows.
        view: The view.

    Returns:
        True inside them, shape (view.height, view.width).

    Raises:
        ImageError: A geometry cannot be read.
    """
    width, height = round(_FULL_PX * coverage.width), round(_FULL_PX / 2 * coverage.height)
    drawn = detected_region(detections, wanted, width=width, height=height)
    picture = np.repeat(np.where(drawn, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(cut_view(picture, coverage, view)[..., 0] >= 128)
