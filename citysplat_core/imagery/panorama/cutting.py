"""Cutting perspective views out of an equirectangular picture."""

import math
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from citysplat_core.errors import ImageError
from citysplat_core.imagery.panorama.rig import View, sphere_shares, view_rays
from citysplat_core.imagery.panorama.telling import Coverage, fits_picture

CUT_VERSION: Final = "1"
"""Raised when the pixels of a view change: kept views are then cut again."""

_JPEG_QUALITY: Final = 92
_LARGEST_PX: Final = 32_000
"""OpenCV's remap holds places in 16 bits."""
_SHARP: Final = 1.25
"""From so many panorama pixels a view pixel on, finer samples are averaged against aliasing."""
_MOST_SAMPLES: Final = 4

Picture = NDArray[np.uint8]


def read_panorama(body: bytes, coverage: Coverage) -> Picture:
    """Decode a panorama.

    Args:
        body: JPEG bytes.
        coverage: What part of the sphere it should show.

    Returns:
        Red, green, blue, shape (H, W, 3).

    Raises:
        ImageError: The file is damaged, has another shape than an equirectangular picture of that
            part, or is wider than 32,000 pixels.
    """
    try:
        pixels = simplejpeg.decode_jpeg(body, colorspace="RGB")
    except (ValueError, RuntimeError) as error:
        raise ImageError(
            f"a damaged panorama of {len(body)} bytes ({error})",
            expected="a whole JPEG photo",
            fix="Fetch or export the photo again.",
        ) from error
    height, width = pixels.shape[:2]
    if not fits_picture(coverage, width, height) or width > _LARGEST_PX:
        raise ImageError(
            f"a panorama file of {width} x {height} pixels",
            expected=f"an equirectangular picture (2:1 when whole), at most {_LARGEST_PX} wide",
            fix='Export the panorama again, or set panoramas.use = "exclude".',
        )
    return np.asarray(pixels)


def cut_view(panorama: Picture, coverage: Coverage, view: View) -> Picture:
    """Cut a perspective view.

    Pixel centres are at +0.5 in both pictures; places beyond the left edge come from the right one.
    Where the view has fewer pixels than the panorama, several samples a pixel are averaged.

    Args:
        panorama: The equirectangular picture, shape (H, W, 3).
        coverage: What part of the sphere it shows.
        view: What is cut.

    Returns:
        Red, green, blue, shape (view.height, view.width, 3). The same input gives the same bytes.
    """
    height, width = panorama.shape[:2]
    samples = _samples(width / coverage.width, view)
    map_x, map_y = _places(width, height, coverage, view.pitch_deg, view.width, view.height,
                           view.focal_ratio, samples)  # fmt: skip
    full_px = width / coverage.width
    map_x = map_x + np.float32(view.yaw_deg / 360.0 * full_px)
    if not coverage.goes_round:
        map_x = np.mod(map_x + 0.5, np.float32(full_px)) - np.float32(0.5)
    border = cv2.BORDER_WRAP if coverage.goes_round else cv2.BORDER_REPLICATE
    how = cv2.INTER_CUBIC if samples == 1 else cv2.INTER_LINEAR
    cut = cv2.remap(panorama, map_x, map_y, how, borderMode=border)
    if samples > 1:
        cut = cv2.resize(cut, (view.width, view.height), interpolation=cv2.INTER_AREA)
    return np.asarray(cut, np.uint8)


def encode_view(pixels: Picture) -> bytes:
    """Return a view as JPEG bytes."""
    picture = np.ascontiguousarray(pixels)
    return bytes(
        simplejpeg.encode_jpeg(
            picture, quality=_JPEG_QUALITY, colorspace="RGB", colorsubsampling="420"
        )
    )


def _samples(full_px: float, view: View) -> int:
    """Choose samples a pixel and axis: as many as panorama pixels fall on a pixel of the middle."""
    finer = full_px / (2.0 * math.pi) / view.focal_px
    return 1 if finer <= _SHARP else min(_MOST_SAMPLES, math.ceil(finer))


@lru_cache(maxsize=8)
def _places(
    width: int,
    height: int,
    coverage: Coverage,
    pitch_deg: float,
    view_width: int,
    view_height: int,
    focal_ratio: float,
    samples: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return where the samples of a view with yaw 0 lie in a panorama, in OpenCV's pixels.

    A yaw only moves them sideways, so that one map serves the whole rig.
    """
    view = View(yaw_deg=0.0, pitch_deg=pitch_deg, width=view_width, height=view_height,
                focal_ratio=focal_ratio)  # fmt: skip
    x = (np.arange(view_width * samples) + 0.5) / samples
    y = (np.arange(view_height * samples) + 0.5) / samples
    shares = sphere_shares(view_rays(view, *np.meshgrid(x, y)))
    map_x = (shares[..., 0] - coverage.left) * (width / coverage.width) - 0.5
    map_y = (shares[..., 1] - coverage.top) * (height / coverage.height) - 0.5
    map_y = np.clip(map_y, 0.0, height - 1.0)  # rows do not go round
    maps = np.ascontiguousarray(map_x, np.float32), np.ascontiguousarray(map_y, np.float32)
    for values in maps:
        values.setflags(write=False)
    return maps
