"""Polygons out of the small vector tiles that Mapillary's detections come as.

A detection is one feature of layer ``mpy-or``; its coordinates run from 0 to the layer's extent
over the photo's width and height, y down. The format is Mapbox Vector Tile 2.1
(https://github.com/mapbox/vector-tile-spec/tree/master/2.1).
"""

import base64
import binascii
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from citysplat_core.errors import ImageError
from citysplat_core.imagery.masks.protobuf import fields, parts, varint

Ring = NDArray[np.float64]

_POLYGON = 3
_MOVE, _LINE, _CLOSE = 1, 2, 7
_DEFAULT_EXTENT = 4096


def detection_rings(geometry: str) -> list[Ring]:
    """Decode a detection's outline.

    Args:
        geometry: Base64 of a vector tile.

    Returns:
        Rings, outer ones and holes alike, as shares of the photo's width and height, x right and
        y down, shape (P, 2). An even-odd fill of all gives the region.

    Raises:
        ImageError: The text is no such geometry.
    """
    try:
        tile = base64.b64decode(geometry, validate=True)
        return [ring for layer in parts(tile, 3) for ring in _layer_rings(layer)]
    except (binascii.Error, IndexError, ValueError, OverflowError) as error:
        raise ImageError(
            f"a detection of {len(geometry)} characters that is no vector tile ({error})",
            expected="base64 of a Mapbox vector tile with polygons",
            fix="Ask again later; the photo counts as without detections.",
        ) from error


def _layer_rings(layer: bytes) -> Iterator[Ring]:
    numbers = {n: v for n, v in fields(layer) if isinstance(v, int)}
    extent = numbers.get(5, _DEFAULT_EXTENT)
    if extent < 1:
        raise ValueError("an extent of zero")
    for feature in parts(layer, 2):
        if dict(fields(feature)).get(3) == _POLYGON:
            for geometry in parts(feature, 4):
                yield from (ring / extent for ring in _rings(geometry))


def _rings(geometry: bytes) -> Iterator[Ring]:
    """Follow the commands; the cursor goes on from ring to ring."""
    at, x, y = 0, 0, 0
    ring: list[tuple[int, int]] = []
    while at < len(geometry):
        command, at = varint(geometry, at)
        kind, count = command & 7, command >> 3
        if kind == _CLOSE:
            if len(ring) >= 3:
                yield np.array(ring, np.float64)
            ring = []
            continue
        if kind not in (_MOVE, _LINE) or count > len(geometry):
            raise ValueError(f"drawing command {kind} of {count} points")
        for _ in range(count):
            dx, at = varint(geometry, at)
            dy, at = varint(geometry, at)
            x, y = x + _signed(dx), y + _signed(dy)
            ring = [(x, y)] if kind == _MOVE else [*ring, (x, y)]


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)
