"""Photos of a street that moves past, with known things in front of the lens."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.source import PhotoResult
from citysplat_core.simulation import TownSettings, build_town, plan_captures
from citysplat_core.simulation.exposure import photo
from citysplat_core.simulation.town import Town

SIZE = (320, 240)


def painted(kind: str, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Paint something static over a photo: the photo and where it is covered, shape (H, W)."""
    height, width = rgb.shape[:2]
    y, x = np.mgrid[:height, :width]
    u, v = x / width, y / height
    out = rgb.copy()
    if kind == "bonnet":
        covered = v > 0.86 + 0.07 * (2 * u - 1) ** 2
        mirrored = cv2.GaussianBlur(rgb[::-1], (0, 0), width / 60)
        out[covered] = (0.25 * mirrored + 150)[covered].clip(0, 255).astype(np.uint8)
    elif kind == "rider":
        covered = ((u - 0.5) / 0.16) ** 2 + ((v - 1.05) / 0.33) ** 2 < 1
        handles = np.abs(v - 0.88 + 0.1 * np.sin((u - 0.25) * 2 * np.pi)) < 0.025
        covered |= handles & (u > 0.25) & (u < 0.75)
        cloth = np.random.default_rng(5).integers(20, 110, (height // 16 + 1, width // 16 + 1, 3))
        cloth = cv2.resize(cloth.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
        out[covered] = cloth[covered]
    elif kind in ("banner", "top banner"):
        tall = round(0.08 * height)
        base = height if kind == "banner" else tall
        covered = (y >= base - tall) & (y < base)
        out[covered] = 25
        place = (int(0.02 * width), base - tall // 4)
        text = "DR900S 2019/07/05 12:30 14 km/h"
        cv2.putText(out, text, place, 0, tall / 45, (235, 235, 235), 1, cv2.LINE_AA)
    elif kind == "watermark":
        ink = np.zeros((height, width), np.uint8)
        place = (int(0.66 * width), int(0.93 * height))
        cv2.putText(ink, "StreetCam", place, 0, width / 700, 255, 2, cv2.LINE_AA)
        share = 0.6 * ink[..., None] / 255.0
        out = np.rint(rgb * (1 - share) + 255 * share).astype(np.uint8)
        covered = ink > 60
    else:
        covered = np.zeros((height, width), bool)
    return out, covered


@pytest.fixture(scope="session")
def drives() -> list[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """Photos (N, H, W, 3) and places (N, 2) of plain day drives through a simulated town."""
    town = build_town(TownSettings(n_photos=120, photo_width_px=SIZE[0], seed=11))
    taken: dict[str, list] = {}
    for capture in plan_captures(town):
        sequence = capture.sequence
        if sequence.kind == "drive" and sequence.overlay == "none":
            taken.setdefault(sequence.sequence_id, []).append(capture)
    long = sorted(taken.values(), key=len)[-2:]
    return [(_photos(town, c[:22]), np.array([p.centre[:2] for p in c[:22]])) for c in long]


def _photos(town: Town, captures: list) -> NDArray[np.uint8]:
    return np.stack([photo(town, capture, n_threads=2) for capture in captures])


@pytest.fixture(scope="session")
def paint():
    return painted


@pytest.fixture
def box_photo(tmp_path: Path):
    """Write a photo and give its ``BoxPhoto``: (image_id, rgb, **row) -> BoxPhoto."""

    def make(image_id: str, rgb: NDArray[np.uint8], **row) -> BoxPhoto:
        path = tmp_path / "cache" / f"{image_id}.jpg"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        height, width = rgb.shape[:2]
        known = {"sequence_id": "s", "captured_at": None, "east_m": 0.0, "north_m": 0.0}
        return BoxPhoto(
            row={"image_id": image_id, **known, **row},
            result=PhotoResult(
                image_id=image_id, state="ok", path=path, width=width, height=height
            ),
            status="ok",
        )

    return make


@pytest.fixture
def onnx_convolution():
    """Write an ONNX file by hand: (path, weights, bias) -> path."""
    return write_convolution


def write_convolution(
    path: Path,
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    shape: tuple[int | str, ...] = ("n", "c", "h", "w"),
) -> Path:
    """Write an ONNX network of one convolution, byte by byte: (1, C, H, W) -> (1, K, H, W).

    Args:
        path: The file.
        weights: Shape (K, C, 1, 1).
        bias: Shape (K,).
        shape: What the file says of its input; texts are left open.
    """
    node = _text(1, "x") + _text(1, "w") + _text(1, "b") + _text(2, "y") + _text(4, "Conv")
    graph = (
        _part(1, node)
        + _text(2, "net")
        + _part(5, _tensor("w", weights))
        + _part(5, _tensor("b", bias))
        + _part(11, _value("x", shape))
        + _part(12, _value("y", ("n", "c", "h", "w")))
    )
    opset = _text(1, "") + _number(2, 13)
    path.write_bytes(_number(1, 8) + _part(7, graph) + _part(8, opset))
    return path


def _tensor(name: str, values: NDArray[np.float32]) -> bytes:
    shape = b"".join(_number(1, size) for size in values.shape)
    return shape + _number(2, 1) + _text(8, name) + _part(9, values.astype("<f4").tobytes())


def _value(name: str, shape: tuple[int | str, ...]) -> bytes:
    sizes = b"".join(
        _part(1, _number(1, size) if isinstance(size, int) else _text(2, size)) for size in shape
    )
    return _text(1, name) + _part(2, _part(1, _number(1, 1) + _part(2, sizes)))


def _text(field: int, text: str) -> bytes:
    return _part(field, text.encode())


def _part(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(body)) + body


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += struct.pack("B", number & 0x7F | 0x80)
        number >>= 7
    return out + struct.pack("B", number)
