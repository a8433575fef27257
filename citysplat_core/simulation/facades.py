"""The face of a house: windows and doors in recesses, shops, and a weathered wall."""

import math
from typing import NamedTuple

from citysplat_core.simulation.kernel import chance, kernel, mix
from citysplat_core.simulation.sampling import sample
from citysplat_core.simulation.solids import SolidArrays
from citysplat_core.simulation.texture_bank import (
    DOOR,
    N_DOORS,
    N_SHOPS,
    N_WINDOWS,
    SHOP,
    STAIN,
    WINDOW,
    TextureBank,
)

Surface = tuple[float, float, float, float, int, float]
"""Red, green, blue (0 to 1), how much farther t is than on the wall, part id, and own light."""


class Opening(NamedTuple):
    """A recess in a wall: its rectangle, metres from the left and from the ground, and picture."""

    left: float
    right: float
    low: float
    high: float
    picture: int
    part: int


@kernel
def _ground_opening(
    solids: SolidArrays, index: int, face: int, u: float, bays: int, bay: float
) -> Opening:
    """Give the door, shop or window of the ground floor at a place along the front."""
    style = solids.styles[index]
    seed = solids.seeds[index] * 8 + face
    column = min(int(u / bay), bays - 1)
    door_column = mix(seed, 901) % bays
    if column == door_column:
        middle = (column + 0.5) * bay
        picture = DOOR + mix(seed, 902) % N_DOORS
        return Opening(middle - 0.6, middle + 0.6, 0.0, 2.35, picture, 500 + column)
    if style[6] > 0:
        picture = SHOP + mix(seed, 920 + column) % N_SHOPS
        return Opening(
            column * bay + 0.16,
            (column + 1) * bay - 0.16,
            0.35,
            style[0] - 0.85,
            picture,
            600 + column,
        )
    middle = (column + 0.5) * bay
    picture = WINDOW + mix(seed, 950 + column) % N_WINDOWS
    half = 0.5 * style[3]
    return Opening(middle - half, middle + half, 0.95, 0.95 + style[4], picture, 700 + column)


@kernel
def _opening(
    solids: SolidArrays, index: int, face: int, u: float, v: float, wide: float, tall: float
) -> Opening:
    """Give the nearest opening to a place on a wall; left > right says that there is none."""
    style = solids.styles[index]
    bays = max(1, int(wide / style[2] + 0.5))
    bay = wide / bays
    if bay < style[3] + 0.3:
        return Opening(1.0, -1.0, 1.0, -1.0, 0, 0)
    if v < style[0]:
        return _ground_opening(solids, index, face, u, bays, bay)
    floor = int((v - style[0]) / style[1])
    sill = style[0] + floor * style[1] + 0.75
    if sill + style[4] > tall - 0.5:
        return Opening(1.0, -1.0, 1.0, -1.0, 0, 0)
    column = min(int(u / bay), bays - 1)
    number = floor * 64 + column
    picture = WINDOW + mix(solids.seeds[index] * 8 + face, number) % N_WINDOWS
    middle, half = (column + 0.5) * bay, 0.5 * style[3]
    return Opening(middle - half, middle + half, sill, sill + style[4], picture, 1000 + number)


@kernel
def _wall(
    solids: SolidArrays, index: int, face: int, bank: TextureBank, u: float, v: float, foot_m: float
) -> tuple[float, float, float]:
    """Colour a wall: its stones, the house's paint, stains, and a dark foot."""
    seed = solids.seeds[index] * 8 + face
    shift_u, shift_v = chance(seed, 11), chance(seed, 12)
    tile = 7.0
    r, g, b, _ = sample(
        bank.pixels,
        bank.layout,
        solids.textures[index],
        u / tile + shift_u,
        -v / tile,
        foot_m / tile,
    )
    stain = 19.0
    s = (
        sample(
            bank.pixels,
            bank.layout,
            STAIN + seed % 2,
            u / stain + shift_u,
            -v / stain + shift_v,
            foot_m / stain,
        )[0]
        * 1.22
    )
    dark = 1.0 - 0.35 * math.exp(-v / 0.5)
    tint = solids.tints[index]
    if v < 0.55:
        s *= 0.72
    elif abs(v - solids.styles[index][0]) < 0.12:
        s *= 1.15
    return (
        r * s * tint[0] * dark * 1.15,
        g * s * tint[1] * dark * 1.15,
        b * s * tint[2] * dark * 1.15,
    )


@kernel
def facade(  # noqa: PLR0913, PLR0917 - one place on one wall, seen from one direction
    solids: SolidArrays,
    index: int,
    face: int,
    bank: TextureBank,
    u: float,
    v: float,
    wide: float,
    tall: float,
    du: float,
    dv: float,
    dn: float,
    foot_m: float,
    dusk: float,
) -> Surface:
    """Colour a place on a house's wall, looking into its recesses.

    Args:
        solids: The boxes.
        index: The house.
        face: Which wall.
        bank: Pictures.
        u: Metres from the wall's left, seen from outside.
        v: Metres above its foot.
        wide: Width of the wall, metres.
        tall: Height of the wall, metres.
        du: Growth of u along the ray, metres for t = 1.
        dv: Growth of v along the ray.
        dn: Growth of the depth behind the wall along the ray, positive.
        foot_m: Size of what one pixel covers, metres.
        dusk: 1 at dusk, when lamps are lit behind some windows, else 0.
    """
    hole = _opening(solids, index, face, u, v, wide, tall)
    inside = hole.left < u < hole.right and hole.low < v < hole.high
    if not inside:
        r, g, b = _wall(solids, index, face, bank, u, v, foot_m)
        frame = max(hole.left - u, u - hole.right, hole.low - v, v - hole.high)
        if hole.left < hole.right and frame < 0.11:  # a painted surround
            r, g, b = 0.35 * r + 0.5, 0.35 * g + 0.49, 0.35 * b + 0.46
        return r, g, b, 0.0, 1, 0.0
    deep = solids.styles[index][5]
    t = deep / dn
    side_t = t
    if du != 0.0:
        side_t = min(side_t, ((hole.right if du > 0 else hole.left) - u) / du)
    if dv != 0.0:
        side_t = min(side_t, ((hole.high if dv > 0 else hole.low) - v) / dv)
    if side_t < t:  # the reveal beside the window
        r, g, b = _wall(solids, index, face, bank, u, v, foot_m)
        return 0.7 * r, 0.7 * g, 0.7 * b, side_t, hole.part + 4000, 0.0
    across = (u + t * du - hole.left) / (hole.right - hole.left)
    down = 1.0 - (v + t * dv - hole.low) / (hole.high - hole.low)
    edge = 0.004
    across, down = min(max(across, edge), 1 - edge), min(max(down, edge), 1 - edge)
    foot = foot_m / (hole.right - hole.left)
    r, g, b, _ = sample(bank.pixels, bank.layout, hole.picture, across, down, foot)
    shadow = 0.62 + 0.38 * min(1.0, down * (hole.high - hole.low) / (1.6 * deep))
    lit = 0.0
    if dusk > 0 and chance(solids.seeds[index] + face, hole.part) < 0.35:
        lit = 1.0
    return r * shadow, g * shadow, b * shadow, t, hole.part, lit
