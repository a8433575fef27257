"""Mask files beside the photos: written once for all photos that share one, and read again."""

import hashlib
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from citysplat_core.errors import ImageError
from citysplat_core.storage import published
from citysplat_core.storage.files import full_disk_is_clear

Mask = NDArray[np.bool_]

FOLDER = "masks"
"""Name of the folder beside ``photos`` in the artifact ``box_images``."""


def mask_path(box_images: Path, image_id: str) -> Path:
    """Return where the mask of a photo lies if it has one; the name is the one COLMAP expects."""
    return box_images / FOLDER / f"{image_id}.jpg.png"


class MaskWriter:
    """Writes masks; photos with the same mask share one file by hard links.

    Args:
        box_images: Folder of the artifact.
    """

    def __init__(self, box_images: Path) -> None:
        """Make the folder at the first mask."""
        self._box_images = box_images
        self._known: dict[str, Path] = {}

    def write(self, image_id: str, ignored: Mask) -> None:
        """Write a mask: 0 where the photo is ignored, 255 where it is used.

        Args:
            image_id: The photo.
            ignored: True where it is ignored, shape (H, W) of the photo.

        Raises:
            StorageError: The disk is full.
        """
        path = mask_path(self._box_images, image_id)
        key = hashlib.sha256(repr(ignored.shape).encode() + np.packbits(ignored).tobytes())
        known = self._known.setdefault(key.hexdigest(), path)
        if known != path:
            _link(known, path)
            return
        path.parent.mkdir(exist_ok=True)
        _, data = cv2.imencode(".png", np.where(ignored, 0, 255).astype(np.uint8))
        with published(path) as stream:
            stream.write(data.tobytes())


def read_mask(box_images: Path, image_id: str) -> Mask | None:
    """Read the mask of a photo.

    Args:
        box_images: Folder of the artifact ``box_images``.
        image_id: The photo.

    Returns:
        True where the photo is used, shape (H, W); None if all of it is.

    Raises:
        ImageError: The file is damaged; names it.
    """
    path = mask_path(box_images, image_id)
    if not path.is_file():
        return None
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        raise ImageError(
            f"the mask {path} cannot be read",
            expected="an 8-bit PNG, 0 where the photo is ignored",
            fix="Materialize box_images of this box again.",
        )
    return np.asarray(pixels >= 128)


def _link(known: Path, path: Path) -> None:
    try:
        os.link(known, path)
    except OSError:
        with full_disk_is_clear(path):
            shutil.copyfile(known, path)
