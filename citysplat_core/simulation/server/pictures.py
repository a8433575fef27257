"""Where the server's photo bytes come from: a renderer, a folder, or drawn scenes."""

import hashlib
import io
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

_SCENES = 12
_WIDTHS = {"256": 256, "500": 500, "1024": 1024, "2048": 2048}


class ImageMaker(Protocol):
    """Gives the bytes of a photo; called in a worker thread, at most once at a time per photo."""

    def jpeg(self, image_id: str) -> bytes:
        """Return the photo at its own size as JPEG bytes.

        Raises:
            FileNotFoundError: There is no such photo.
        """
        ...


class FolderImages:
    """Photos of a folder, ``<image_id>.jpg``."""

    def __init__(self, folder: Path) -> None:
        """Serve the photos of ``folder``."""
        self._folder = folder

    def jpeg(self, image_id: str) -> bytes:
        """Return the file's bytes.

        Raises:
            FileNotFoundError: There is no such file.
        """
        return (self._folder / f"{image_id}.jpg").read_bytes()


class SyntheticScenes:
    """Street-like drawings, one of twelve by id, a known share of them blurred.

    Args:
        size: Width and height of the photos, pixels.
        blurred_share: Share of blurred photos, 0 to 1.
        panoramas: Ids whose pictures are twice as wide as they are high (and as wide as two others)
            as equirectangular ones are; what they show is no sphere.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int] = (1280, 960),
        blurred_share: float = 0.15,
        panoramas: Collection[str] = frozenset(),
    ) -> None:
        """Prepare the scenes; each is drawn when first asked for."""
        self._size = size
        self._blurred_share = blurred_share
        self._panoramas = panoramas

    def is_blurry(self, image_id: str) -> bool:
        """Say whether the photo is blurred; the truth for tests of sharpness."""
        digest = hashlib.sha256(image_id.encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32 < self._blurred_share

    def jpeg(self, image_id: str) -> bytes:
        """Return the drawing for this id."""
        digits = "".join(c for c in image_id if c.isdigit()) or "0"
        size = self._size
        if image_id in self._panoramas:
            size = (2 * size[0], size[0])
        return _scene(int(digits) % _SCENES, size, blurred=self.is_blurry(image_id))


@lru_cache(maxsize=256)
def _scene(scene: int, size: tuple[int, int], *, blurred: bool) -> bytes:
    width, height = size
    rng = np.random.default_rng(scene)
    sky = np.linspace(210, 150, height)[:, None, None] * np.array([0.85, 0.95, 1.1])
    picture = Image.fromarray(_bytes(np.broadcast_to(sky, (height, width, 3))))
    draw = ImageDraw.Draw(picture)
    horizon = int(height * rng.uniform(0.5, 0.6))
    draw.rectangle((0, horizon, width, height), fill=(90, 90, 95))
    x = 0
    while x < width:
        house = int(width * rng.uniform(0.1, 0.25))
        top = int(horizon * rng.uniform(0.1, 0.6))
        wall = tuple(int(v) for v in rng.integers(80, 220, 3))
        draw.rectangle((x, top, x + house, horizon), fill=wall)
        _windows(draw, rng, (x, top, x + house, horizon))
        x += house
    noisy = np.asarray(picture, dtype=np.float64) + rng.normal(0, 7, (height, width, 1))
    picture = Image.fromarray(_bytes(noisy))
    if blurred:
        picture = picture.filter(ImageFilter.GaussianBlur(max(2.0, width / 350)))
    return _encoded(picture, quality=85)


def _windows(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, wall: tuple[int, int, int, int]
) -> None:
    left, top, right, bottom = wall
    step = max(16, (right - left) // int(rng.integers(3, 7)))
    shade = tuple(int(v) for v in rng.integers(20, 80, 3))
    for x in range(left + step // 4, right - step // 2, step):
        for y in range(top + step // 4, bottom - step // 2, step):
            draw.rectangle((x, y, x + step // 2, y + step // 2), fill=shade)


def thumbnail(original: bytes, kind: str) -> bytes:
    """Return a photo at an offered size.

    Args:
        original: JPEG bytes at the photo's own size.
        kind: 256, 500, 1024, 2048 (width in pixels) or original.

    Returns:
        JPEG bytes; the original's own bytes if they are not wider than asked for: a
        thumbnail is never enlarged.
    """
    width = _WIDTHS.get(kind)
    if width is None:
        return original
    with Image.open(io.BytesIO(original)) as picture:
        if picture.width <= width:
            return original
        size = (width, max(1, round(picture.height * width / picture.width)))
        return _encoded(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS), quality=88)


def _encoded(picture: Image.Image, *, quality: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _bytes(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(values, 0, 255).astype(np.uint8)
