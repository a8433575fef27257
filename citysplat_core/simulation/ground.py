"""Roads with markings, pavements, and the sky."""

import math

import numpy as np
from numpy.typing import NDArray

from citysplat_core.simulation.kernel import chance, kernel, mix
from citysplat_core.simulation.sampling import sample
from citysplat_core.simulation.street_grid import KERB_M, ROAD_HALF_M
from citysplat_core.simulation.texture_bank import (
    ASPHALT,
    CLOUDS,
    DECAL,
    N_DECALS,
    PAVING,
    STAIN,
    TextureBank,
)

Rgb = tuple[float, float, float]
ROAD, PAVEMENT, KERB = -2, -3, -4
"""Part ids of what lies on the ground."""
_CELL_M = 5.2


@kernel
def offset(value: float, first: float, pitch: float) -> float:
    """Give the signed distance to the nearest of parallel street centre lines."""
    return (value - first + 0.5 * pitch) % pitch - 0.5 * pitch


@kernel
def ground_part(x: float, y: float, first_x: float, first_y: float, pitch: float) -> int:
    """Say whether a place is on a road or on a pavement."""
    a, b = abs(offset(x, first_x, pitch)), abs(offset(y, first_y, pitch))
    return ROAD if min(a, b) < ROAD_HALF_M else PAVEMENT


@kernel
def ground_hit(  # noqa: PLR0913, PLR0917 - kernels have no objects
    ox: float, oy: float, oz: float, dx: float, dy: float, dz: float,
    first_x: float, first_y: float, pitch: float,
) -> tuple[float, int]:  # fmt: skip
    """Meet the pavement, the road that lies lower, or the kerb between them."""
    if dz >= 0:
        return 1e30, PAVEMENT
    t = (KERB_M - oz) / dz
    if ground_part(ox + t * dx, oy + t * dy, first_x, first_y, pitch) == PAVEMENT:
        return t, PAVEMENT
    t = -oz / dz
    if ground_part(ox + t * dx, oy + t * dy, first_x, first_y, pitch) == ROAD:
        return t, ROAD
    return t, KERB


@kernel
def _band(value: float, low: float, high: float, soft: float) -> float:
    """Give how much of a pixel lies in a band, with edges as soft as the pixel is large."""
    half = max(0.5 * soft, 1e-6)
    into = min(max((value - low) / half, -1.0), 1.0)
    out = min(max((high - value) / half, -1.0), 1.0)
    return max(0.0, 0.5 * (into + out))


@kernel
def _paint(along: float, across: float, other: float, soft: float) -> float:
    """Give how much white paint lies at a place of a street.

    ``along`` is the distance to the crossing's centre along the street, ``across`` the one to the
    street's centre line and ``other`` the running length.
    """
    if along < ROAD_HALF_M:
        return 0.0
    zebra = _band(along, ROAD_HALF_M + 0.5, ROAD_HALF_M + 3.0, soft)
    if zebra > 0:
        stripe = abs(across + 20.0) % 1.0
        return (
            zebra
            * _band(stripe, 0.25, 0.75, soft)
            * _band(abs(across), -1.0, ROAD_HALF_M - 0.4, soft)
        )
    stop = _band(along, ROAD_HALF_M + 3.6, ROAD_HALF_M + 4.0, soft) * _band(
        abs(across), 0.1, 2.8, soft
    )
    dash = _band(abs(other) % 6.0, 1.5, 4.5, soft) * _band(across, -0.07, 0.07, soft)
    edge = _band(abs(across), 2.85, 2.95, soft)
    box = _band(abs(other) % 5.4, 2.65, 2.75, soft) * _band(abs(across), 2.9, ROAD_HALF_M, soft)
    if along < ROAD_HALF_M + 3.6:
        dash = 0.0
    return max(stop, dash, edge if along > ROAD_HALF_M + 4.0 else 0.0, 0.8 * box)


@kernel
def _decals(
    bank: TextureBank, x: float, y: float, seed: int, foot_m: float
) -> tuple[float, float, float, float]:
    """Give the manhole, patch or stain at a place, if one lies there (alpha else 0)."""
    cx, cy = math.floor(x / _CELL_M), math.floor(y / _CELL_M)
    place = mix(cx * 7919 + seed, cy)
    if place % 100 < 40:
        return 0.0, 0.0, 0.0, 0.0
    kind = (place >> 8) % N_DECALS
    wide = (0.8, 0.7, 3.4, 2.2)[kind % 4]
    u = (x - (cx + (0.15 + 0.2 * chance(place, 1))) * _CELL_M) / wide
    v = (y - (cy + (0.15 + 0.2 * chance(place, 2))) * _CELL_M) / wide
    if u < 0 or v < 0 or u >= 1 or v >= 1:
        return 0.0, 0.0, 0.0, 0.0
    return sample(bank.pixels, bank.layout, DECAL + kind, u, v, foot_m / wide)


@kernel
def ground_colour(  # noqa: PLR0913, PLR0917 - kernels have no objects
    part: int, x: float, y: float, first_x: float, first_y: float, pitch: float,
    bank: TextureBank, seed: int, foot_m: float,
) -> Rgb:  # fmt: skip
    """Colour a place on the ground."""
    if part == KERB:
        return 0.62, 0.61, 0.59
    wear = sample(bank.pixels, bank.layout, STAIN, x / 23.0 + 0.3, y / 23.0, foot_m / 23.0)[0]
    if part == PAVEMENT:
        r, g, b, _ = sample(bank.pixels, bank.layout, PAVING, x / 6.4, y / 6.4, foot_m / 6.4)
        wear *= 1.2
        return r * wear, g * wear, b * wear
    r, g, b, _ = sample(bank.pixels, bank.layout, ASPHALT, x / 9.0, y / 9.0, foot_m / 9.0)
    r2, g2, b2, cover = _decals(bank, x, y, seed, foot_m)
    r, g, b = r + cover * (r2 - r), g + cover * (g2 - g), b + cover * (b2 - b)
    a, c = offset(x, first_x, pitch), offset(y, first_y, pitch)
    along_x = abs(c) < ROAD_HALF_M
    paint = _paint(abs(a), c, a, foot_m) if along_x else _paint(abs(c), a, c, foot_m)
    paint *= min(1.0, max(0.15, 2.6 * (wear - 0.44)))
    tone = 1.25 * wear
    return (
        (r + paint * (0.86 - r)) * tone,
        (g + paint * (0.86 - g)) * tone,
        (b + paint * (0.83 - b)) * tone,
    )


@kernel
def sky_colour(
    dx: float, dy: float, dz: float, bank: TextureBank, light: NDArray[np.float64]
) -> Rgb:
    """Colour the sky in a direction: a gradient, clouds, and far hills at the horizon."""
    norm = math.sqrt(dx * dx + dy * dy + dz * dz)
    up = dz / norm
    top, low = light[9:12], light[12:15]
    blend = math.sqrt(max(up, 0.0))
    r = low[0] + blend * (top[0] - low[0])
    g = low[1] + blend * (top[1] - low[1])
    b = low[2] + blend * (top[2] - low[2])
    if up > 0.02:
        scale = 0.16 / (up + 0.08)
        u, v = dx / norm * scale + light[15], dy / norm * scale + light[16]
        cr, cg, cb, cover = sample(
            bank.pixels, bank.layout, CLOUDS, u, v, 0.0012 * scale / (up + 0.05)
        )
        cover *= min(1.0, (up - 0.02) * 6)
        bright = light[17]
        r, g, b = (
            r + cover * (cr * bright - r),
            g + cover * (cg * bright - g),
            b + cover * (cb * bright - b),
        )
    azimuth = math.atan2(dy, dx)
    hills = (
        0.035
        + 0.016 * math.sin(3 * azimuth + 1)
        + 0.009 * math.sin(11 * azimuth)
        + 0.004 * math.sin(37 * azimuth)
    )
    if up < hills:
        return 0.62 * low[0] + 0.03, 0.66 * low[1] + 0.03, 0.72 * low[2] + 0.03
    return r, g, b
