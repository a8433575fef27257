"""A small writer of Mapbox Vector Tiles (version 2): points, lines and simple polygons.

The protobuf encoding is written out by hand so that the server needs no protobuf compiler and
its bytes do not come from the library that the client reads them with.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

EXTENT = 4096
"""Units a tile side has."""
_POINT, _LINE, _POLYGON = 1, 2, 3
_CLOSE_PATH = 1 << 3 | 7

PropertyValue = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One feature of a layer.

    Attributes:
        number: The feature id inside the tile; not the image id.
        points: One position for a point, two or more for a line, tile units, y down.
        properties: Names and values; an absent value is left out, never null.
        is_polygon: Whether the points are the corners of a polygon, the first not repeated.
    """

    number: int
    points: Sequence[tuple[int, int]]
    properties: Mapping[str, PropertyValue]
    is_polygon: bool = False


def encode_tile(layers: Iterable[tuple[str, Sequence[Feature]]]) -> bytes:
    """Return the bytes of a tile.

    Args:
        layers: Layer name and features, in the order they are written; a layer without
            features is left out.

    Returns:
        An uncompressed vector tile; empty bytes if no layer has features.
    """
    return b"".join(
        _message(3, _layer(name, features)) for name, features in layers if len(features)
    )


def _layer(name: str, features: Sequence[Feature]) -> bytes:
    keys: dict[str, int] = {}
    values: dict[tuple[type, PropertyValue], int] = {}
    parts = [_message(1, name.encode())]
    for feature in features:
        tags = bytearray()
        for key, value in feature.properties.items():
            tags += _varint(keys.setdefault(key, len(keys)))
            # 1, 1.0 and True are one dictionary key in Python but three values in a tile
            tags += _varint(values.setdefault((type(value), value), len(values)))
        parts.append(_message(2, _feature(feature, bytes(tags))))
    parts += [_message(3, key.encode()) for key in keys]
    parts += [_message(4, _value(value)) for _, value in values]
    parts.append(b"\x28" + _varint(EXTENT))
    parts.append(b"\x78\x02")  # field 15: version 2
    return b"".join(parts)


def _feature(feature: Feature, tags: bytes) -> bytes:
    kind = _POLYGON if feature.is_polygon else _POINT if len(feature.points) == 1 else _LINE
    geometry = _geometry(feature.points) + (_varint(_CLOSE_PATH) if feature.is_polygon else b"")
    return (
        b"\x08"
        + _varint(feature.number)
        + _message(2, tags)
        + b"\x18"
        + _varint(kind)
        + _message(4, geometry)
    )


def _geometry(points: Sequence[tuple[int, int]]) -> bytes:
    out = bytearray(b"\x09")  # MoveTo, once
    last_x = last_y = 0
    for index, (x, y) in enumerate(points):
        if index == 1:
            out += _varint((len(points) - 1) << 3 | 2)  # LineTo, for all that follow
        out += _varint(_zigzag(x - last_x)) + _varint(_zigzag(y - last_y))
        last_x, last_y = x, y
    return bytes(out)


def _value(value: PropertyValue) -> bytes:
    if isinstance(value, bool):
        return b"\x38" + (b"\x01" if value else b"\x00")
    if isinstance(value, int):
        return b"\x20" + _varint(value & 0xFFFFFFFFFFFFFFFF)
    if isinstance(value, float):
        return b"\x19" + struct.pack("<d", value)
    return _message(1, value.encode())


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
