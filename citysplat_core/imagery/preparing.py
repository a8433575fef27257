"""Making a user's photo into what the pipeline wants: JPEG, upright, not too large."""

import io

import cv2
import numpy as np
from PIL import ImageOps

from citysplat_core.errors import ImageError
from citysplat_core.imagery.exif import UNREADABLE, open_picture, orientation_of
from citysplat_core.imagery.jpeg_check import check_jpeg

_JPEG_QUALITY = 92


def prepared_photo(body: bytes, size_px: int) -> bytes:
    """Return a photo as JPEG, upright and not wider than asked for.

    A JPEG that is all that already is returned byte for byte. Upright matters because some readers
    turn a photo by its EXIF orientation and some do not: after this there is nothing to turn, so
    that features, cameras and splats all see the same pixels.

    Args:
        body: The bytes of a JPEG, PNG, TIFF or WebP file.
        size_px: Largest width, pixels; 0 for any.

    Raises:
        ImageError: The file is cut off or damaged.
    """
    if body[:2] == b"\xff\xd8":
        width, _ = check_jpeg(body)
        orientation = _orientation(body)
        if orientation == 1 and (not size_px or width <= size_px):
            return body
        pixels = _upright(_decoded_jpeg(body), orientation)
    else:
        pixels = _decoded(body)
    height, width = pixels.shape[:2]
    if size_px and width > size_px:
        size = (size_px, max(1, round(height * size_px / width)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return encoded.tobytes()


def _orientation(body: bytes) -> int:
    """Return how EXIF says that a JPEG's stored pixels are turned or mirrored, 1 to 8."""
    try:
        with open_picture(io.BytesIO(body)) as picture:
            return orientation_of(picture.getexif())
    except UNREADABLE:
        return 1  # a JPEG whose EXIF cannot be read says nothing


def _decoded_jpeg(body: bytes) -> cv2.typing.MatLike:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(body, np.uint8), flags)
    if pixels is None:
        raise _bad_photo(f"{len(body)} bytes that are no whole photo")
    return pixels


def _decoded(body: bytes) -> cv2.typing.MatLike:
    """Decode any other format strictly, upright, 8 bits, blue first as OpenCV has it."""
    try:
        with open_picture(io.BytesIO(body)) as picture:
            picture.load()  # unlike OpenCV, it refuses a file that is cut off
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I"):
                gray = np.clip(np.asarray(upright, np.float64) / 256.0, 0, 255).astype(np.uint8)
                return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
            return cv2.cvtColor(np.asarray(upright.convert("RGB")), cv2.COLOR_RGB2BGR)
    except UNREADABLE as error:
        raise _bad_photo(f"{len(body)} bytes that are no whole photo ({error})") from error


def _upright(pixels: cv2.typing.MatLike, orientation: int) -> cv2.typing.MatLike:
    if orientation in {5, 6, 7, 8}:
        pixels = np.swapaxes(pixels, 0, 1)  # mirrors at the diagonal, as 5 asks
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _bad_photo(seen: str) -> ImageError:
    return ImageError(
        seen, expected="a JPEG, PNG, TIFF or WebP file", fix="Export the photo again."
    )
