"""Making a user's photo into what the pipeline wants: JPEG, upright, not too large."""

import io

import cv2
import numpy as np
from PIL import ExifTags, Image

from citysplat_core.errors import ImageError
from citysplat_core.imagery.jpeg_check import check_jpeg

_JPEG_QUALITY = 92


def prepared_photo(body: bytes, size_px: int) -> bytes:
    """Return a photo as JPEG, upright and not wider than asked for.

    A JPEG that is all that already is returned byte for byte. Upright matters because some readers
    turn a photo by its EXIF orientation and some do not: after this there is nothing to turn.

    Args:
        body: The bytes of a JPEG or PNG file.
        size_px: Largest width, pixels; 0 for any.

    Raises:
        ImageError: The file is cut off or damaged.
    """
    if body[:2] == b"\xff\xd8":
        width, _ = check_jpeg(body)
        if not _is_turned(body) and (not size_px or width <= size_px):
            return body
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ImageError(
            f"{len(body)} bytes that are no whole photo",
            expected="a JPEG or PNG file",
            fix="Export the photo again.",
        )
    height, width = pixels.shape[:2]
    if size_px and width > size_px:
        size = (size_px, max(1, round(height * size_px / width)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return encoded.tobytes()


def _is_turned(body: bytes) -> bool:
    """Say whether EXIF asks for the photo to be turned or mirrored."""
    with Image.open(io.BytesIO(body)) as picture:
        return picture.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
