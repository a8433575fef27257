"""A picture that shows what the masks of a box ignore."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.masks.files import read_mask
from citysplat_core.storage import published

_MOST, _COLUMNS, _WIDTH_PX = 12, 3, 320
_RED = np.array([40, 40, 230], np.float32)  # blue, green, red


def write_preview(out: Path, masked: Sequence[BoxPhoto]) -> Path | None:
    """Write ``masks.jpg``: masked photos, spread evenly, with the ignored parts in red.

    Args:
        out: Folder of the artifact, with the masks.
        masked: Photos that have a mask.

    Returns:
        The picture, or None if there is nothing to show.
    """
    if not masked:
        return None
    picks = np.unique(np.linspace(0, len(masked) - 1, _MOST).round().astype(int))
    tiles = [tile for i in picks if (tile := _tile(out, masked[i])) is not None]
    if not tiles:
        return None
    height = max(tile.shape[0] for tile in tiles)
    tiles = [np.pad(t, ((0, height - len(t)), (0, 0), (0, 0))) for t in tiles]
    columns = min(_COLUMNS, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)]
    _, data = cv2.imencode(".jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 88])
    with published(out / "masks.jpg") as stream:
        stream.write(data.tobytes())
    return out / "masks.jpg"


def _tile(out: Path, photo: BoxPhoto) -> NDArray[np.uint8] | None:
    mask = read_mask(out, photo.image_id)
    if mask is None or photo.result is None or photo.result.path is None:
        return None
    pixels = cv2.imread(str(photo.result.path), cv2.IMREAD_COLOR)
    if pixels is None:
        return None
    size = (_WIDTH_PX, max(1, round(pixels.shape[0] * _WIDTH_PX / pixels.shape[1])))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    ignored = cv2.resize((~mask).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    small[ignored] = 0.45 * small[ignored] + 0.55 * _RED
    return np.rint(small).astype(np.uint8)
