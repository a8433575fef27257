"""The ``/{id}/detections`` edge of the graph: outlines as vector tiles in base64."""

import base64
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from citysplat_core.simulation.server.mvt import EXTENT, Feature, encode_tile

FIELDS = frozenset({"id", "value", "geometry", "created_at", "image"})
"""What may be asked for of a detection."""
_LAYER = "mpy-or"


@runtime_checkable
class DetectionMaker(Protocol):
    """A maker of photos that also knows what is to be detected in them."""

    def detections(self, image_id: str) -> Sequence[tuple[str, NDArray[np.float64]]]:
        """Return names and outlines, shares of width and height, y down, shape (P, 2)."""
        ...


def detections_of(images: object, image_id: str, wanted: Sequence[str]) -> dict[str, Any]:
    """Answer the edge of an image.

    Args:
        images: Where the photos come from; no ``DetectionMaker`` has no detections.
        image_id: The image.
        wanted: Names out of ``FIELDS``.

    Returns:
        ``data`` with one entry a detection: ``id`` and the wanted fields.
    """
    if not isinstance(images, DetectionMaker):
        return {"data": []}
    data = []
    for number, (value, outline) in enumerate(images.detections(image_id)):
        everything = {
            "value": value,
            "geometry": outline_text(outline),
            "created_at": "2021-05-20T20:21:14+0000",
            "image": {"id": image_id},
        }
        entry = {name: everything[name] for name in wanted if name in everything}
        data.append({**entry, "id": f"{image_id}{number:03d}"})
    return {"data": data}


def outline_text(outline: NDArray[np.float64]) -> str:
    """Encode an outline as the service does: base64 of a tile with one polygon."""
    corners = [(int(x), int(y)) for x, y in np.rint(outline * EXTENT)]
    feature = Feature(number=1, points=corners, properties={}, is_polygon=True)
    return base64.b64encode(encode_tile([(_LAYER, [feature])])).decode()
