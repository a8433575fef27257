"""How sharp, how bright and how alike photos are: numbers, never verdicts."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from citysplat_core.errors import ImageError

SCORER_VERSION = 2
"""Raised whenever a score of the same photo changes; scores of another version are made again."""

_BOX_PX = 9
_DARK, _BRIGHT = 8, 250
_HASH_STEP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Scores of one photo.

    Attributes:
        blur_score: Higher is sharper: sharp street photos of 1024 px score about -1.6 to -2.9, with
            a Gaussian blur of 2 px -3.9 to -5.4. It is ``-6 crete + 0.5 ln(laplacian)``.
        crete: Crete's blur metric, the worse of both axes: 0 sharp, 1 blurred.
        laplacian: Variance of the Laplacian over that of the luminance; higher is sharper.
        luminance_mean: 0 (black) to 255.
        luminance_std: Spread of the same; near 0 for a lens cap or fog.
        dark_share: Share of pixels at 8 or below, 0 to 1.
        bright_share: Share of pixels at 250 or above, 0 to 1.
        dhash: 64 bits as 16 hexadecimal digits; near duplicates differ in few bits.
    """

    blur_score: float
    crete: float
    laplacian: float
    luminance_mean: float
    luminance_std: float
    dark_share: float
    bright_share: float
    dhash: str


def score_photo(body: bytes) -> Quality:
    """Score a photo from one decode of its luminance at half size.

    The decoder is strict: most damage inside a file of the right size and ends is found here.

    Args:
        body: JPEG bytes.

    Raises:
        ImageError: The bytes cannot be decoded without a fault.
    """
    gray = _half_size(body)
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(gray))
    crete = max(_crete(gray, axis=0), _crete(gray, axis=1))
    laplacian = _laplacian_variance(gray) / (deviation**2 + 25.0)
    dark = cv2.countNonZero(cv2.inRange(gray, 0, _DARK))
    bright = cv2.countNonZero(cv2.inRange(gray, _BRIGHT, 255))
    return Quality(
        blur_score=-6.0 * crete + 0.5 * math.log(laplacian + 1e-6),
        crete=crete,
        laplacian=laplacian,
        luminance_mean=mean,
        luminance_std=deviation,
        dark_share=dark / gray.size,
        bright_share=bright / gray.size,
        dhash=difference_hash(gray),
    )


def _half_size(body: bytes) -> NDArray[np.uint8]:
    """Decode the luminance at half size, shape (height, width)."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(body)
        gray = simplejpeg.decode_jpeg(
            body,
            colorspace="GRAY",
            min_height=(height + 1) // 2,
            min_width=(width + 1) // 2,
            min_factor=2,
        )
    except (ValueError, RuntimeError) as error:
        raise ImageError(
            f"a damaged JPEG of {len(body)} bytes ({error})",
            expected="a whole JPEG photo",
            fix="Fetch or export the photo again.",
        ) from error
    return np.asarray(gray[:, :, 0], np.uint8)


def _laplacian_variance(gray: NDArray[np.uint8]) -> float:
    edges = cv2.Laplacian(gray, cv2.CV_16S)
    mean = cv2.sumElems(edges)[0] / gray.size
    return float(cv2.norm(edges, cv2.NORM_L2SQR)) / gray.size - mean**2


def _crete(gray: NDArray[np.uint8], *, axis: int) -> float:
    """Return how little a further blur along an axis changes: 0 sharp, 1 blurred.

    Crete et al., The Blur Effect (2007), in 8-bit arithmetic.
    """
    blurred = cv2.blur(gray, (1, _BOX_PX) if axis == 0 else (_BOX_PX, 1))
    own, after = _steps(gray, axis), _steps(np.asarray(blurred, np.uint8), axis)
    total = float(cv2.sumElems(own)[0])
    lost = float(cv2.sumElems(cv2.subtract(own, after))[0])
    return (total - lost) / (total + 1e-6)


def _steps(gray: NDArray[np.uint8], axis: int) -> NDArray[np.uint8]:
    ahead, behind = (gray[1:], gray[:-1]) if axis == 0 else (gray[:, 1:], gray[:, :-1])
    return np.asarray(cv2.absdiff(ahead, behind))


def difference_hash(gray: NDArray[np.uint8]) -> str:
    """Return 64 bits that say where the picture gets brighter from left to right, as hex.

    Args:
        gray: Luminance, shape (height, width).
    """
    height, width = gray.shape
    # Whole steps first: OpenCV averages those four times faster.
    if min(height, width) >= 16 * _HASH_STEP:
        size = (width // _HASH_STEP, height // _HASH_STEP)
        cut = gray[: size[1] * _HASH_STEP, : size[0] * _HASH_STEP]
        gray = np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA), np.uint8)
    small = cv2.resize(gray, (9, 8), interpolation=cv2.INTER_AREA)
    bits = small[:, 1:] > small[:, :-1]
    return np.packbits(bits).tobytes().hex()


def hamming(first: str, second: str) -> int:
    """Return in how many of 64 bits two ``dhash`` values differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()
