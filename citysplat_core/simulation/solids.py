"""The building stone of a town: a box along the town's axes with a surface."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]

CELL_M = 4.0
"""Width of a cell of the index that rays walk through, metres."""
HOUSE_FIELDS = 10


class SolidKind(IntEnum):
    """How a box looks."""

    PANEL = 0
    """A plain box; its texture tiles every 3 metres."""
    HOUSE = 1
    """Walls with windows, doors and shops."""
    SCREEN = 2
    """A hollow box whose sides let one see through where the texture is transparent."""
    POSTER = 3
    """The texture fills each of the two largest sides once."""
    CROWN = 4
    """An ellipsoid of leaves inside the box."""
    CAR = 5
    """A car's lower body."""
    CABIN = 6
    """A car's upper body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """The style of a house; all its windows and shops follow from it and the seed."""

    seed: int
    wall: int
    tint: Vector
    ground_m: float
    storey_m: float
    bay_m: float
    window_w_m: float
    window_h_m: float
    recess_m: float
    shop_share: float
    height_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Solid:
    """A box along the town's axes, town metres."""

    low: Vector
    high: Vector
    kind: SolidKind
    texture: int
    tint: Vector
    house: House | None = None
    seed: int = 0


class SolidArrays(NamedTuple):
    """Boxes ready for the kernels, and the cells that rays look them up in.

    Attributes:
        boxes: low x, y, z, high x, y, z, town metres, float64, shape (N, 6).
        kinds: ``SolidKind``, int32, shape (N,).
        textures: Index of the picture, int32, shape (N,).
        seeds: Seed of the details, int64, shape (N,).
        tints: Colour factors, float64, shape (N, 3).
        styles: ground_m, storey_m, bay_m, window_w_m, window_h_m, recess_m, shop_share of houses,
            float64, shape (N, HOUSE_FIELDS).
        cells: Where each cell's boxes begin in ``items``, int32, shape (n_x * n_y + 1,).
        items: Indices of boxes, int32.
        lattice: x0, y0 of the cells (metres), n_x, n_y, height of the highest box (metres),
            float64, shape (5,).
    """

    boxes: NDArray[np.float64]
    kinds: NDArray[np.int32]
    textures: NDArray[np.int32]
    seeds: NDArray[np.int64]
    tints: NDArray[np.float64]
    styles: NDArray[np.float64]
    cells: NDArray[np.int32]
    items: NDArray[np.int32]
    lattice: NDArray[np.float64]


def _style(house: House | None) -> list[float]:
    if house is None:
        return [0.0] * HOUSE_FIELDS
    used = [house.ground_m, house.storey_m, house.bay_m, house.window_w_m, house.window_h_m]
    used += [house.recess_m, house.shop_share]
    return used + [0.0] * (HOUSE_FIELDS - len(used))


def solid_arrays(
    solids: list[Solid], *, bounds_m: tuple[float, float, float, float]
) -> SolidArrays:
    """Pack boxes for the kernels and index them by cells of 4 metres.

    Args:
        solids: The boxes; those outside the indexed rectangle are not seen.
        bounds_m: West, south, east and north edge of the indexed rectangle, metres.
    """
    boxes = np.array([(*s.low, *s.high) for s in solids], np.float64).reshape(-1, 6)
    west, south, east, north = bounds_m
    n_x, n_y = int(np.ceil((east - west) / CELL_M)), int(np.ceil((north - south) / CELL_M))
    first_x = np.clip(np.floor((boxes[:, 0] - west) / CELL_M), 0, n_x - 1).astype(int)
    last_x = np.clip(np.floor((boxes[:, 3] - west) / CELL_M), 0, n_x - 1).astype(int)
    first_y = np.clip(np.floor((boxes[:, 1] - south) / CELL_M), 0, n_y - 1).astype(int)
    last_y = np.clip(np.floor((boxes[:, 4] - south) / CELL_M), 0, n_y - 1).astype(int)
    wide, tall = last_x - first_x + 1, last_y - first_y + 1
    count = wide * tall
    owner = np.repeat(np.arange(len(boxes)), count)
    inside = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    cell_x = first_x[owner] + inside % wide[owner]
    cell_y = first_y[owner] + inside // wide[owner]
    cell = cell_y * n_x + cell_x
    order = np.argsort(cell, kind="stable")
    starts = np.searchsorted(cell[order], np.arange(n_x * n_y + 1))
    return SolidArrays(
        boxes=boxes,
        kinds=np.array([s.kind for s in solids], np.int32),
        textures=np.array([s.texture for s in solids], np.int32),
        seeds=np.array([s.house.seed if s.house else s.seed for s in solids], np.int64),
        tints=np.array([s.tint for s in solids], np.float64).reshape(-1, 3),
        styles=np.array([_style(s.house) for s in solids], np.float64).reshape(-1, HOUSE_FIELDS),
        cells=starts.astype(np.int32),
        items=owner[order].astype(np.int32),
        lattice=np.array([west, south, n_x, n_y, boxes[:, 5].max(initial=0.0)], np.float64),
    )
