"""All pictures of a town in one buffer, each with its smaller versions (mip levels)."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from citysplat_core.simulation import paint, paint_details
from citysplat_core.simulation.paint import Picture

MAX_LEVELS = 12

# Where each family of pictures begins in the bank, and how many it has.
WALL, N_WALLS = 0, 8
STAIN, N_STAINS = 8, 2
ASPHALT, PAVING, CLOUDS, LEAVES = 10, 11, 12, 13
WINDOW, N_WINDOWS = 14, 40
DOOR, N_DOORS = 54, 8
SHOP, N_SHOPS = 62, 20
SIGN, N_SIGNS = 82, 32
TALL_SIGN, N_TALL_SIGNS = 114, 16
CAR_SIDE, N_CARS = 130, 3
CAR_END, CAR_GLASS = 133, 136
RAILING = 139
DECAL, N_DECALS = 140, 12
PLAIN = 152
N_TEXTURES = 153


class TextureBank(NamedTuple):
    """Pictures ready for the kernels.

    Attributes:
        pixels: All levels of all pictures, RGBA, uint8, shape (P, 4).
        layout: For each picture its width, height, number of levels, then the first row in
            ``pixels`` of each level, int32, shape (N_TEXTURES, 3 + MAX_LEVELS); powers of 2.
    """

    pixels: NDArray[np.uint8]
    layout: NDArray[np.int32]


def _walls(rng: np.random.Generator) -> list[Picture]:
    return [
        paint.bricks(rng, size=512, columns=32, rows=102, mortar=150, spread=22),
        paint.bricks(rng, size=512, columns=26, rows=86, mortar=225, spread=30),
        paint.plaster(rng, size=512, grain=8),
        paint.plaster(rng, size=512, grain=13),
        paint.ashlar(rng, size=512),
        paint.panels(rng, size=512),
        paint.planks(rng, size=512),
        paint.bricks(rng, size=512, columns=16, rows=64, mortar=100, spread=20),
    ]


def _street(rng: np.random.Generator) -> list[Picture]:
    return [
        *(paint.stains(rng, size=512) for _ in range(N_STAINS)),
        paint.asphalt(rng, size=512),
        paint.paving(rng, size=512, columns=16, rows=16),
        paint.clouds(rng, size=512),
        paint.leaves(rng, size=256),
    ]


def _details(rng: np.random.Generator) -> list[Picture]:
    details = paint_details
    return [
        *(details.window(rng, size=128) for _ in range(N_WINDOWS)),
        *(details.door(rng, size=128) for _ in range(N_DOORS)),
        *(details.shop(rng, size=256) for _ in range(N_SHOPS)),
        *(details.sign(rng, height=64, width=256) for _ in range(N_SIGNS)),
        *(details.sign(rng, height=128, width=64) for _ in range(N_TALL_SIGNS)),
        *(details.car_side(rng, height=64, width=256) for _ in range(N_CARS)),
        *(details.car_end(rng, height=64, width=128) for _ in range(N_CARS)),
        *(details.car_glass(rng, height=64, width=128) for _ in range(N_CARS)),
        details.railing(rng, height=64, width=256),
        *(details.road_decal(rng, index % 4, size=128) for index in range(N_DECALS)),
        paint.plaster(rng, size=256, grain=3),
    ]


def _levels(picture: Picture) -> list[NDArray[np.uint8]]:
    """Halve a picture until one pixel is left; colours are weighted by alpha."""
    levels = [picture]
    while max(levels[-1].shape[:2]) > 1 and len(levels) < MAX_LEVELS:
        last = levels[-1]
        for axis in (0, 1):
            if last.shape[axis] > 1:
                first, second = (np.take(last, range(k, last.shape[axis], 2), axis) for k in (0, 1))
                weight = first[..., 3:] + second[..., 3:]
                colour = first[..., :3] * first[..., 3:] + second[..., :3] * second[..., 3:]
                plain = (first[..., :3] + second[..., :3]) / 2
                colour = np.where(weight > 0, colour / np.maximum(weight, 1e-6), plain)
                last = np.concatenate([colour, weight / 2], axis=2)
        levels.append(last.astype(np.float32))
    return [np.clip(np.rint(level), 0, 255).astype(np.uint8) for level in levels]


@lru_cache(maxsize=2)
def texture_bank(seed: int) -> TextureBank:
    """Paint the pictures of a town; about a second of CPU, then kept for the process.

    Args:
        seed: The town's seed; the same seed gives the same pixels.
    """
    rng = np.random.default_rng([seed, 1])
    pictures = _walls(rng) + _street(rng) + _details(rng)
    layout = np.zeros((N_TEXTURES, 3 + MAX_LEVELS), np.int32)
    blocks: list[NDArray[np.uint8]] = []
    start = 0
    for index, picture in enumerate(pictures):
        levels = _levels(picture)
        layout[index, :3] = picture.shape[1], picture.shape[0], len(levels)
        for number, level in enumerate(levels):
            layout[index, 3 + number] = start
            blocks.append(level.reshape(-1, 4))
            start += len(blocks[-1])
    return TextureBank(np.ascontiguousarray(np.concatenate(blocks)), layout)
