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
        return [
            ring
            for number, layer in _fields(tile)
            if number == 3 and isinstance(layer, bytes)
            for ring in _layer_rings(layer)
        ]
    except (binascii.Error, IndexError, ValueError, OverflowError) as error:
        raise ImageError(
            f"a detection of {len(geometry)} characters that is no vector tile ({error})",
            expected="base64 of a Mapbox vector tile with polygons",
            fix="Ask again later; the photo counts as without detections.",
        ) from error


def _layer_rings(layer: bytes) -> Iterator[Ring]:
    fields = list(_fields(layer))
    extent = next((v for n, v in fields if n == 5 and isinstance(v, int)), _DEFAULT_EXTENT)
    if extent < 1:
        raise ValueError("an extent of zero")
    for number, feature in fields:
        if number == 2 and isinstance(feature, bytes):
            parts = dict(_fields(feature))
            geometry = parts.get(4, b"")
            if parts.get(3) == _POLYGON and isinstance(geometry, bytes):
                yield from (ring / extent for ring in _rings(geometry))


def _rings(geometry: bytes) -> Iterator[Ring]:
    """Follow the commands; the cursor goes on from ring to ring."""
    at, x, y = 0, 0, 0
    ring: list[tuple[int, int]] = []
    while at < len(geometry):
        command, at = _varint(geometry, at)
        kind, count = command & 7, command >> 3
        if kind == _CLOSE:
            if len(ring) >= 3:
                yield np.array(ring, np.float64)
            ring = []
            continue
        if kind not in (_MOVE, _LINE) or count > len(geometry):
            raise ValueError(f"drawing command {kind} of {count} points")
        for _ in range(count):
            dx, at = _varint(geometry, at)
            dy, at = _varint(geometry, at)
            x, y = x + _signed(dx), y + _signed(dy)
            ring = [(x, y)] if kind == _MOVE else [*ring, (x, y)]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Give field numbers and values of a protobuf message; fixed-width ones are passed over."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a field beyond the end")
            yield number, message[at : at + length]
            at += length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _signed(number: int) -> int:
    return (number >> 1) ^ -(number & 1)
