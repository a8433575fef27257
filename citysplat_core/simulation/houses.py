"""Blocks of houses along the streets, each with a style of its own or a twin's."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from citysplat_core.simulation.solids import House, Solid, SolidKind
from citysplat_core.simulation.street_grid import FACADE_M, KERB_M, StreetGrid
from citysplat_core.simulation.texture_bank import (
    N_SIGNS,
    N_TALL_SIGNS,
    N_WALLS,
    PLAIN,
    RAILING,
    SIGN,
    TALL_SIGN,
    WALL,
)

RING = 1
"""Rings of undriven blocks around the driven streets."""
_TINTS = (
    (0.78, 0.46, 0.38), (0.86, 0.62, 0.47), (0.95, 0.88, 0.74), (0.82, 0.79, 0.72),
    (0.70, 0.75, 0.80), (0.93, 0.78, 0.55), (0.72, 0.55, 0.47), (0.98, 0.96, 0.92),
    (0.68, 0.74, 0.64), (0.88, 0.70, 0.66), (0.62, 0.62, 0.66), (0.92, 0.84, 0.62),
)  # fmt: skip
_TWIN_WIDTH_M, _TWIN_DEPTH_M, _TWIN_FLOORS = 9.0, 10.0, 4
_N_TWINS = 3


@dataclass(frozen=True, slots=True)
class Lot:
    """A house's ground: its rectangle in town metres and the side that faces the street."""

    x0: float
    y0: float
    x1: float
    y1: float
    front: int
    """0 west, 1 east, 2 south, 3 north."""


def _cuts(rng: np.random.Generator, length: float) -> list[float]:
    """Cut a row of houses into fronts of 7.5 to 13 m."""
    cuts = [0.0]
    while length - cuts[-1] > 13.0:
        cuts.append(cuts[-1] + float(rng.uniform(7.5, min(13.0, length - cuts[-1] - 5.0))))
    return [*cuts, length]


def _row(
    rng: np.random.Generator, start: tuple[float, float], length: float, front: int
) -> list[Lot]:
    """Put houses along a street; ``start`` is the row's south-western corner on the street line."""
    lots = []
    cuts = _cuts(rng, length)
    for left, right in pairwise(cuts):
        depth, back = float(rng.uniform(9.0, 11.0)), float(rng.choice([0.0, 0.0, 0.25, 0.5]))
        near, far = back, back + depth
        if front == 0:
            lots.append(
                Lot(start[0] + near, start[1] + left, start[0] + far, start[1] + right, front)
            )
        elif front == 1:
            lots.append(
                Lot(start[0] - far, start[1] + left, start[0] - near, start[1] + right, front)
            )
        elif front == 2:
            lots.append(
                Lot(start[0] + left, start[1] + near, start[0] + right, start[1] + far, front)
            )
        else:
            lots.append(
                Lot(start[0] + left, start[1] - far, start[0] + right, start[1] - near, front)
            )
    return lots


def block_lots(rng: np.random.Generator, x0: float, y0: float, x1: float, y1: float) -> list[Lot]:
    """Lay out the four rows of a block whose house fronts span the given rectangle, metres."""
    deep = 11.5
    return [
        *_row(rng, (x0, y0), x1 - x0, 2),
        *_row(rng, (x0, y1), x1 - x0, 3),
        *_row(rng, (x0, y0 + deep), y1 - y0 - 2 * deep, 0),
        *_row(rng, (x1, y0 + deep), y1 - y0 - 2 * deep, 1),
    ]


def draw_house(rng: np.random.Generator, seed: int, *, floors: int) -> House:
    """Draw a house's style; the same generator state gives the same house."""
    wall = int(rng.integers(N_WALLS))
    tint = np.array(_TINTS[int(rng.integers(len(_TINTS)))]) * rng.uniform(0.92, 1.05)
    if wall in {0, 1, 7}:  # bricks are reds and browns
        tint = np.array(_TINTS[int(rng.choice([0, 1, 6, 9, 3]))]) * rng.uniform(0.9, 1.05)
    ground, storey = float(rng.uniform(3.3, 3.9)), float(rng.uniform(2.8, 3.3))
    return House(
        seed=seed,
        wall=WALL + wall,
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        ground_m=ground,
        storey_m=storey,
        bay_m=float(rng.uniform(2.3, 3.3)),
        window_w_m=float(rng.uniform(1.05, 1.5)),
        window_h_m=float(rng.uniform(1.45, 1.85)),
        recess_m=float(rng.uniform(0.14, 0.3)),
        shop_share=float(rng.choice([0.0, 1.0], p=[0.45, 0.55])),
        height_m=ground + floors * storey + float(rng.uniform(0.5, 1.1)),
    )


def _protrusions(rng: np.random.Generator, lot: Lot, house: House) -> list[Solid]:
    """Give a house its cornice, balconies and signs, which stick out of the front."""
    across, out = _front_frame(lot)
    width = across[1] - across[0]
    dark = tuple(0.8 * c for c in house.tint)
    parts = [
        _on_front(
            lot,
            out,
            across,
            (-0.15, width + 0.15),
            (house.height_m - 0.35, house.height_m),
            0.35,
            PLAIN,
            dark,
        ),
        _on_front(
            lot,
            out,
            across,
            (0.0, width),
            (house.ground_m - 0.12, house.ground_m + 0.1),
            0.14,
            PLAIN,
            dark,
        ),
    ]
    n_bays = max(1, round(width / house.bay_m))
    bay = width / n_bays
    n_floors = int((house.height_m - house.ground_m - 0.4) / house.storey_m)
    with_balconies = rng.random() < 0.55
    for floor in range(n_floors):
        for column in range(n_bays):
            if with_balconies and rng.random() < 0.3:
                low = house.ground_m + floor * house.storey_m + 0.12
                span = (column * bay + 0.12, (column + 1) * bay - 0.12)
                parts.append(
                    _on_front(
                        lot, out, across, span, (low - 0.16, low), 1.0, PLAIN, (0.8, 0.8, 0.78)
                    )
                )
                parts.append(
                    _on_front(
                        lot,
                        out,
                        across,
                        span,
                        (low, low + 0.95),
                        1.0,
                        RAILING,
                        (1, 1, 1),
                        SolidKind.SCREEN,
                    )
                )
    if rng.random() < 0.6:  # a sign that hangs out over the pavement
        middle = float(rng.uniform(1.0, width - 1.0))
        texture = TALL_SIGN + int(rng.integers(N_TALL_SIGNS))
        low = house.ground_m + 0.3
        parts.append(
            _on_front(
                lot,
                out,
                across,
                (middle - 0.07, middle + 0.07),
                (low, low + 1.5),
                0.85,
                texture,
                (1, 1, 1),
                SolidKind.POSTER,
            )
        )
    if house.shop_share > 0 and rng.random() < 0.75:  # a board along the shop
        left = float(rng.uniform(0.2, width * 0.3))
        texture = SIGN + int(rng.integers(N_SIGNS))
        parts.append(
            _on_front(
                lot,
                out,
                across,
                (left, min(left + 3.6, width - 0.2)),
                (house.ground_m - 0.78, house.ground_m - 0.1),
                0.18,
                texture,
                (1, 1, 1),
                SolidKind.POSTER,
            )
        )
    return parts


def _front_frame(lot: Lot) -> tuple[tuple[float, float], float]:
    """Give the extent of the front along the street and the coordinate of its plane."""
    if lot.front < 2:
        return (lot.y0, lot.y1), lot.x0 if lot.front == 0 else lot.x1
    return (lot.x0, lot.x1), lot.y0 if lot.front == 2 else lot.y1


def _on_front(  # noqa: PLR0913, PLR0917 - a box needs its three extents and its looks
    lot: Lot,
    plane: float,
    across: tuple[float, float],
    span: tuple[float, float],
    up: tuple[float, float],
    depth: float,
    texture: int,
    tint: tuple[float, ...],
    kind: SolidKind = SolidKind.PANEL,
) -> Solid:
    """Make a box of the given depth that stands out of a house's front."""
    near, far = (plane - depth, plane) if lot.front in {0, 2} else (plane, plane + depth)
    left, right = across[0] + span[0], across[0] + span[1]
    if lot.front < 2:
        low, high = (near, left, up[0]), (far, right, up[1])
    else:
        low, high = (left, near, up[0]), (right, far, up[1])
    return Solid(low=low, high=high, kind=kind, texture=texture, tint=(tint[0], tint[1], tint[2]))


def block_solids(
    rng: np.random.Generator, lots: list[Lot], *, lookalike_share: float
) -> list[Solid]:
    """Build the houses of a block; some are exact copies of one of three twins.

    Args:
        rng: Source of chance for everything but the twins, which have generators of their own.
        lots: The block's lots.
        lookalike_share: Share of the houses that are copies.
    """
    solids: list[Solid] = []
    for lot in lots:
        if rng.random() < lookalike_share:
            twin = int(rng.integers(_N_TWINS))
            solids += _twin(lot, twin)
            continue
        house = draw_house(rng, int(rng.integers(2**31)), floors=int(rng.integers(2, 6)))
        solids.append(_body(lot, house))
        solids += _protrusions(rng, lot, house)
    return solids


def _twin(lot: Lot, twin: int) -> list[Solid]:
    """Build a copy of a twin in the middle of a lot; only its place differs from its siblings."""
    own = np.random.default_rng([twin, 77])
    across, plane = _front_frame(lot)
    middle = (across[0] + across[1]) / 2
    left, right = middle - _TWIN_WIDTH_M / 2, middle + _TWIN_WIDTH_M / 2
    inward = _TWIN_DEPTH_M if lot.front in {0, 2} else -_TWIN_DEPTH_M
    near, far = sorted((plane, plane + inward))
    if lot.front < 2:
        small = Lot(near, left, far, right, lot.front)
    else:
        small = Lot(left, near, right, far, lot.front)
    house = draw_house(own, 1000 + twin, floors=_TWIN_FLOORS)
    return [_body(small, house), *_protrusions(own, small, house)]


def _body(lot: Lot, house: House) -> Solid:
    return Solid(
        low=(lot.x0, lot.y0, KERB_M),
        high=(lot.x1, lot.y1, KERB_M + house.height_m),
        kind=SolidKind.HOUSE,
        texture=house.wall,
        tint=house.tint,
        house=house,
    )


def town_houses(
    rng: np.random.Generator, grid: StreetGrid, *, lookalike_share: float
) -> list[Solid]:
    """Build all blocks: those between the driven streets and a ring around them."""
    solids: list[Solid] = []
    for i in range(-RING - 1, grid.n_east + RING):
        for j in range(-RING - 1, grid.n_north + RING):
            x0, x1 = grid.street_x(i) + FACADE_M, grid.street_x(i + 1) - FACADE_M
            y0, y1 = grid.street_y(j) + FACADE_M, grid.street_y(j + 1) - FACADE_M
            lots = block_lots(rng, x0, y0, x1, y1)
            solids += block_solids(rng, lots, lookalike_share=lookalike_share)
    return solids
