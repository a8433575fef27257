"""From what a perfect camera sees to the photo that a real one saves."""

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from citysplat_core.simulation.captures import Capture, Sequence
from citysplat_core.simulation.render import View, render, to_bytes
from citysplat_core.simulation.town import Town

JPEG_QUALITY = 92
_ROOF_BELOW_DEG = 48.0
"""How far below the horizon the roof begins that a 360-degree camera stands on."""
_Light = NDArray[np.float32]


def photo(
    town: Town, capture: Capture, *, n_threads: int = 1, view: View | None = None
) -> NDArray[np.uint8]:
    """Take a photo: the view with exposure, vignetting, blur, noise and what covers it.

    Args:
        town: The town.
        capture: One of its captures.
        n_threads: Threads that render it; the result does not depend on it.
        view: Its view by ``render``, if the caller has it already.

    Returns:
        Red, green, blue, uint8, shape (H, W, 3).
    """
    sequence = capture.sequence
    rng = np.random.default_rng([capture.seed, 6])
    light = (view or render(town, capture, n_threads=n_threads)).light
    gain = sequence.exposure * float(np.exp(0.03 * rng.standard_normal()))
    shade = _roof(light) if capture.camera.is_pano else _vignette(light)
    light = np.asarray(light * (gain * np.array(sequence.white_balance, np.float32)) * shade)
    if capture.is_blurred:
        light = _blur(rng, light)
    if sequence.overlay == "bonnet":
        light = _bonnet(sequence, light)
    grain = (0.016 if sequence.is_dusk else 0.008) * rng.standard_normal(light.shape)
    picture = to_bytes((light + grain).astype(np.float32))
    return _banner(sequence, picture) if sequence.overlay == "banner" else picture


def photo_jpeg(
    town: Town, capture: Capture, *, n_threads: int = 1, view: View | None = None
) -> bytes:
    """Take a photo and give its JPEG bytes; see ``photo``."""
    picture = np.ascontiguousarray(photo(town, capture, n_threads=n_threads, view=view))
    return bytes(simplejpeg.encode_jpeg(picture, quality=JPEG_QUALITY, colorspace="RGB"))


def _vignette(light: _Light) -> _Light:
    """Give the share of light that reaches each pixel, shape (H, W, 1)."""
    height, width = light.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    off = ((x - width / 2) ** 2 + (y - height / 2) ** 2) / (width / 2) ** 2
    return np.asarray((1 - 0.1 * off)[..., None])


def _roof(light: _Light) -> _Light:
    """Give the shade of the roof below a 360-degree camera, the same in all directions, (H, 1, 1).

    Such cameras balance their lenses: there is no vignetting.
    """
    height = light.shape[0]
    below_deg = ((np.arange(height) + 0.5) / height - 0.5) * 180.0
    covered = np.clip((below_deg - _ROOF_BELOW_DEG) * height / 180.0 + 0.5, 0, 1)
    return np.asarray(1 - 0.85 * covered, np.float32)[:, None, None]


def _blur(rng: np.random.Generator, light: _Light) -> _Light:
    """Shake the camera or miss the focus, by about a hundredth of the picture."""
    width = light.shape[1]
    if rng.random() < 0.5:
        sigma = width / 640 * rng.uniform(2.2, 3.5)
        return np.asarray(cv2.GaussianBlur(light, (0, 0), sigma), np.float32)
    length = max(3, int(width / 640 * rng.uniform(9, 16)))
    way = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    start, end = (np.rint((length - 1) / 2 + sign * reach).astype(int).tolist() for sign in (-1, 1))
    cv2.line(way, start, end, 1.0, 1)
    return np.asarray(cv2.filter2D(light, -1, way / way.sum()), np.float32)


def _bonnet(sequence: Sequence, light: _Light) -> _Light:
    """Cover the bottom with the car's bonnet, which mirrors the sky a little."""
    rng = np.random.default_rng([sequence.seed, 7])
    height, width = light.shape[:2]
    x = np.linspace(-1, 1, width)
    top = height * (1 - rng.uniform(0.07, 0.13) * (1 - 0.55 * x * x))
    cover = np.clip(np.arange(height)[:, None] + 0.5 - top, 0, 1)[..., None]
    paint = rng.uniform(0.05, 0.5) * np.array([1, rng.uniform(0.85, 1), rng.uniform(0.8, 1)])
    down = (np.arange(height)[:, None] - top) / height
    shine = np.exp(-(((x[None, :] - rng.uniform(-0.4, 0.4)) / 0.35) ** 2)) * np.exp(
        -np.abs(down) / 0.05
    )
    body = paint * (0.8 + 2.0 * np.maximum(down, 0))[..., None] + 0.25 * shine[..., None]
    return np.asarray(light * (1 - cover) + body * cover, np.float32)


def _banner(sequence: Sequence, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write a recorder's banner along the bottom; the same in every photo of a sequence."""
    height = picture.shape[0]
    tall = max(10, height // 18)
    picture = picture.copy()
    picture[height - tall :] = picture[height - tall :] // 4
    text = f"{sequence.camera.make.upper()} {sequence.camera.model} {sequence.creator_username}"
    scale = tall / 40
    line = np.ascontiguousarray(picture[height - tall :])
    cv2.putText(
        line, text, (tall // 2, int(tall * 0.72)), cv2.FONT_HERSHEY_SIMPLEX, scale,
        (235, 235, 225), max(1, round(1.6 * scale)), cv2.LINE_AA,
    )  # fmt: skip
    picture[height - tall :] = line
    return picture
