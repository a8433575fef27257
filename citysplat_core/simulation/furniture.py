"""What stands in the streets: lamps, signs, trees, boxes, and cars."""

import numpy as np

from citysplat_core.simulation.paint_details import vivid
from citysplat_core.simulation.solids import Solid, SolidKind, Vector
from citysplat_core.simulation.street_grid import FACADE_M, KERB_M, ROAD_HALF_M, StreetGrid
from citysplat_core.simulation.texture_bank import (
    CAR_END,
    CAR_GLASS,
    CAR_SIDE,
    LEAVES,
    N_CARS,
    N_TALL_SIGNS,
    PLAIN,
    TALL_SIGN,
    WALL,
)

CAR_LENGTH_M, CAR_WIDTH_M = 4.3, 1.76
_PAINTS = (
    (0.95, 0.95, 0.95), (0.25, 0.26, 0.28), (0.62, 0.64, 0.66), (0.72, 0.16, 0.14),
    (0.16, 0.26, 0.52), (0.12, 0.13, 0.14), (0.85, 0.72, 0.35), (0.22, 0.42, 0.32),
)  # fmt: skip


def car(x: float, y: float, *, along_x: bool, forward: bool, seed: int) -> list[Solid]:
    """Make a car that stands on the road along one of the town's axes.

    Args:
        x: Middle of the car, town metres.
        y: Middle of the car, town metres.
        along_x: Whether it points along x, else along y.
        forward: Whether its front points to growing coordinates.
        seed: Decides paint and shape.
    """
    paint = _PAINTS[seed % len(_PAINTS)]
    model = (seed // 8) % N_CARS
    half, side = CAR_LENGTH_M / 2, CAR_WIDTH_M / 2
    cabin = (-1.55, 0.75) if forward else (-0.75, 1.55)
    top = 1.42 + 0.05 * (seed % 5)

    def part(
        start: float,
        end: float,
        width: float,
        low: float,
        high: float,
        kind: SolidKind,
        texture: int,
    ) -> Solid:
        near, far = (x + start, y - width), (x + end, y + width)
        if not along_x:
            near, far = (x - width, y + start), (x + width, y + end)
        return Solid(
            low=(*near, low), high=(*far, high), kind=kind, texture=texture, tint=paint,
            seed=2 * int(along_x) + int(forward),
        )  # fmt: skip

    return [
        part(-half, half, side, 0.14, 0.86, SolidKind.CAR, CAR_SIDE + model),
        part(cabin[0], cabin[1], side - 0.1, 0.86, top, SolidKind.CABIN, CAR_GLASS + model),
    ]


def car_end_texture(side_texture: int) -> int:
    """Give the picture of a car's ends that belongs to the picture of its side."""
    return side_texture - CAR_SIDE + CAR_END


def _pole(x: float, y: float, top: float, half: float, tone: float) -> Solid:
    return Solid(
        low=(x - half, y - half, KERB_M), high=(x + half, y + half, top),
        kind=SolidKind.PANEL, texture=PLAIN, tint=(tone, tone, tone),
    )  # fmt: skip


def _tree(rng: np.random.Generator, x: float, y: float) -> list[Solid]:
    radius, crown = float(rng.uniform(1.1, 1.7)), float(rng.uniform(4.0, 5.2))
    tone = float(rng.uniform(0.8, 1.15))
    trunk = Solid(
        low=(x - 0.13, y - 0.13, KERB_M), high=(x + 0.13, y + 0.13, crown),
        kind=SolidKind.PANEL, texture=WALL + 6, tint=(0.42, 0.33, 0.26),
    )  # fmt: skip
    leaves = [
        Solid(
            low=(x - r, y - r, crown - 0.95 * r),
            high=(x + r, y + r, crown + 1.25 * r),
            kind=SolidKind.CROWN,
            texture=LEAVES,
            tint=(tone, tone * 1.02, tone * 0.95),
            seed=int(rng.integers(2**31)),
        )
        for r in (radius, 0.62 * radius)
    ]
    return [trunk, *leaves]


def _sign(rng: np.random.Generator, x: float, y: float, *, along_x: bool) -> list[Solid]:
    low = 2.1
    flat: Vector = (0.03, 0.3, 0.0) if along_x else (0.3, 0.03, 0.0)
    board = Solid(
        low=(x - flat[0], y - flat[1], low), high=(x + flat[0], y + flat[1], low + 0.95),
        kind=SolidKind.POSTER, texture=TALL_SIGN + int(rng.integers(N_TALL_SIGNS)), tint=(1, 1, 1),
    )  # fmt: skip
    return [_pole(x, y, low + 0.1, 0.04, 0.55), board]


def _box(rng: np.random.Generator, x: float, y: float) -> list[Solid]:
    half, top = float(rng.uniform(0.25, 0.45)), float(rng.uniform(0.7, 1.5))
    red, green, blue = vivid(rng)
    return [
        Solid(
            low=(x - half, y - half, KERB_M),
            high=(x + half, y + half, KERB_M + top),
            kind=SolidKind.POSTER,
            texture=TALL_SIGN + int(rng.integers(N_TALL_SIGNS)),
            tint=(0.5 + red / 510, 0.5 + green / 510, 0.5 + blue / 510),
        )
    ]


def _pavement_things(rng: np.random.Generator, x: float, y: float, *, along_x: bool) -> list[Solid]:
    """Draw one thing that stands at the kerb: a lamp, a tree, a sign, a box or nothing."""
    kind = rng.random()
    if kind < 0.24:
        arm: Vector = (0.08, 0.9, 0.08) if along_x else (0.9, 0.08, 0.08)
        lamp = Solid(
            low=(x - arm[0], y - arm[1], 6.0), high=(x + arm[0], y + arm[1], 6.14),
            kind=SolidKind.PANEL, texture=PLAIN, tint=(0.4, 0.4, 0.42),
        )  # fmt: skip
        return [_pole(x, y, 6.0, 0.07, 0.42), lamp]
    if kind < 0.5:
        return _tree(rng, x, y)
    if kind < 0.68:
        return _sign(rng, x, y, along_x=along_x)
    if kind < 0.84:
        return _box(rng, x, y)
    return []


def town_furniture(
    rng: np.random.Generator, grid: StreetGrid, *, parked_cars: float
) -> list[Solid]:
    """Furnish every street between two crossings with things at the kerb and parked cars."""
    solids: list[Solid] = []
    clear = FACADE_M + 3.5  # crossings and their corners stay free
    first, last = clear, grid.pitch_m - clear
    for i in range(-1, grid.n_east + 1):
        for j in range(-1, grid.n_north + 1):
            for along_x in (True, False):
                for side in (-1.0, 1.0):
                    _furnish_side(
                        rng,
                        solids,
                        grid,
                        (i, j),
                        along_x=along_x,
                        side=side,
                        span=(first, last),
                        parked=parked_cars,
                    )
    return solids


def _furnish_side(
    rng: np.random.Generator,
    solids: list[Solid],
    grid: StreetGrid,
    crossing: tuple[int, int],
    *,
    along_x: bool,
    side: float,
    span: tuple[float, float],
    parked: float,
) -> None:
    """Furnish one side of the street that leaves a crossing to the east or north."""
    x, y = grid.street_x(crossing[0]), grid.street_y(crossing[1])
    for step in np.arange(span[0] + rng.uniform(0, 3), span[1], 6.5):
        along, out = float(step), side * (ROAD_HALF_M + 0.55)
        place = (x + along, y + out) if along_x else (x + out, y + along)
        solids += _pavement_things(rng, *place, along_x=along_x)
    for step in np.arange(span[0] + 2.5, span[1] - 2.0, 5.4):
        if rng.random() < parked:
            along, out = float(step + rng.uniform(-0.3, 0.3)), side * (ROAD_HALF_M - 0.95)
            place = (x + along, y + out) if along_x else (x + out, y + along)
            forward = (side < 0) == along_x  # one parks on the right
            solids += car(*place, along_x=along_x, forward=forward, seed=int(rng.integers(2**31)))
