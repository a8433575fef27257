"""How sharp, how bright and how alike photos are."""

from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from citysplat_core.errors import ImageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Scores of one photo.

    Attributes:
        blur_score: Higher is sharper: sharp street photos of 1024 px score about -1.6 to -2.6, with
            a Gaussian blur of 2 px -3.9 to -5.4.
        luminance_mean: 0 (black) to 255.
        luminance_std: Spread of the same; near 0 for a lens cap or fog.
        dhash: 64 bits as 16 hexadecimal digits; near duplicates differ in few bits.
    """

    blur_score: float
    luminance_mean: float
    luminance_std: float
    dhash: str


def score_photo(body: bytes) -> Quality:
    """Score a photo from one decode of its luminance at half size.

    The decoder is strict: most damage inside a file of the right size and ends is found here.

    Args:
        body: JPEG bytes.

    Raises:
        ImageError: The bytes cannot be decoded without a fault.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(body)
        gray = simplejpeg.decode_jpeg(
            body,
            colorspace="GRAY",
            min_height=(height + 1) // 2,
            min_width=(width + 1) // 2,
            min_factor=2,
        )[:, :, 0]
    except (ValueError, RuntimeError) as error:
        raise ImageError(
            f"a damaged JPEG of {len(body)} bytes ({error})",
            expected="a whole JPEG photo",
            fix="Fetch or export the photo again.",
        ) from error
    mean, std = cv2.meanStdDev(gray)
    return Quality(
        blur_score=_blur_score(gray),
        luminance_mean=float(mean[0, 0]),
        luminance_std=float(std[0, 0]),
        dhash=difference_hash(gray),
    )


def _blur_score(gray: NDArray[np.uint8]) -> float:
    """Combine Crete's blur metric with the Laplacian over the contrast; higher is sharper."""
    crete = max(_crete(gray, axis=0), _crete(gray, axis=1))
    _, spread = cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_16S))
    _, contrast = cv2.meanStdDev(gray)
    laplacian = float(spread[0, 0]) ** 2 / (float(contrast[0, 0]) ** 2 + 25.0)
    return -6.0 * crete + 0.5 * float(np.log(laplacian + 1e-6))


def _crete(gray: NDArray[np.uint8], *, axis: int) -> float:
    """Return how little a further blur along an axis changes: 0 sharp, 1 blurred."""
    blurred = cv2.blur(gray, (1, 9) if axis == 0 else (9, 1))
    own, after = _steps(gray, axis), _steps(np.asarray(blurred, np.uint8), axis)
    total = float(own.sum(dtype=np.int64))
    lost = float(cv2.subtract(own, after).sum(dtype=np.int64))
    return (total - lost) / (total + 1e-6)


def _steps(gray: NDArray[np.uint8], axis: int) -> NDArray[np.uint8]:
    ahead, behind = (gray[1:], gray[:-1]) if axis == 0 else (gray[:, 1:], gray[:, :-1])
    return np.asarray(cv2.absdiff(np.ascontiguousarray(ahead), np.ascontiguousarray(behind)))


def difference_hash(gray: NDArray[np.uint8]) -> str:
    """Return 64 bits that say where the picture gets brighter from left to right, as hex.

    Args:
        gray: Luminance, shape (height, width).
    """
    small = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA)
    bits = small[:, 1:] > small[:, :-1]
    return np.packbits(bits).tobytes().hex()
