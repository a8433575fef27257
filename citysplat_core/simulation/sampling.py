"""Look-ups in the town's pictures, without aliasing."""

import math

import numpy as np
from numpy.typing import NDArray

from citysplat_core.simulation.kernel import kernel

Colour = tuple[float, float, float, float]


@kernel
def _texel_mix(
    pixels: NDArray[np.uint8], start: int, width: int, height: int, u: float, v: float
) -> Colour:
    """Interpolate between the four nearest pixels of one level; the picture repeats."""
    x, y = u * width - 0.5, v * height - 0.5
    fx, fy = math.floor(x), math.floor(y)
    wx, wy = x - fx, y - fy
    x0, y0 = int(fx) & (width - 1), int(fy) & (height - 1)  # sizes are powers of 2
    x1, y1 = (x0 + 1) & (width - 1), (y0 + 1) & (height - 1)
    a, b = start + y0 * width + x0, start + y0 * width + x1
    c, d = start + y1 * width + x0, start + y1 * width + x1
    wa, wb, wc, wd = (1 - wx) * (1 - wy), wx * (1 - wy), (1 - wx) * wy, wx * wy
    return (
        wa * pixels[a, 0] + wb * pixels[b, 0] + wc * pixels[c, 0] + wd * pixels[d, 0],
        wa * pixels[a, 1] + wb * pixels[b, 1] + wc * pixels[c, 1] + wd * pixels[d, 1],
        wa * pixels[a, 2] + wb * pixels[b, 2] + wc * pixels[c, 2] + wd * pixels[d, 2],
        wa * pixels[a, 3] + wb * pixels[b, 3] + wc * pixels[c, 3] + wd * pixels[d, 3],
    )


@kernel
def sample(
    pixels: NDArray[np.uint8],
    layout: NDArray[np.int32],
    index: int,
    u: float,
    v: float,
    foot: float,
) -> Colour:
    """Read a picture.

    Args:
        pixels: ``TextureBank.pixels``.
        layout: ``TextureBank.layout``.
        index: Which picture.
        u: Place along its width; 1 is one width.
        v: Place down its height; 1 is one height.
        foot: Size of what one camera pixel covers, as a share of the picture's width.

    Returns:
        Red, green, blue, alpha, 0 to 1, interpolated within and between levels.
    """
    width, height, n_levels = layout[index, 0], layout[index, 1], layout[index, 2]
    level = math.log2(max(foot * width, 1.0))
    low = min(int(level), n_levels - 1)
    # Levels are mixed in the middle half between them; beyond it one is enough.
    share = min(max(2.0 * (level - low) - 0.5, 0.0), 1.0)
    if share == 1.0 and low + 1 < n_levels:
        low, share = low + 1, 0.0
    r, g, b, a = _texel_mix(
        pixels, layout[index, 3 + low], max(width >> low, 1), max(height >> low, 1), u, v
    )
    if share > 0 and low + 1 < n_levels:
        high = low + 1
        r2, g2, b2, a2 = _texel_mix(
            pixels, layout[index, 3 + high], max(width >> high, 1), max(height >> high, 1), u, v
        )
        r, g, b, a = (
            r + share * (r2 - r), g + share * (g2 - g), b + share * (b2 - b), a + share * (a2 - a)
        )  # fmt: skip
    return r / 255.0, g / 255.0, b / 255.0, a / 255.0
