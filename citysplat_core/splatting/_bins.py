# ruff: noqa: PLR0913, PLR0917, RUF046
"""Which Gaussians touch which tile, front to back: depth sort, exact culling, tile lists."""

from math import ceil, floor, log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from citysplat_core.splatting._jit import Array, kernel, spread

TILE = 16


class Bins(NamedTuple):
    """The tile lists of one view.

    Attributes:
        ids: Gaussian of each intersection, tile by tile and front to back, shape (I,).
        tile_start: Where a tile's intersections begin, shape (tiles + 1,).
        slots: Where the intersections of each Gaussian lie in ``ids``, shape (I,).
        slot_start: Where a Gaussian's slots begin, in depth order, shape (visible + 1,).
        order: Visible Gaussians from near to far, shape (visible,).
    """

    ids: NDArray[np.int32]
    tile_start: NDArray[np.int64]
    slots: NDArray[np.int32]
    slot_start: NDArray[np.int64]
    order: NDArray[np.int32]


@kernel
def _depth_order(radii: Array, depth_bits: Array) -> Array:
    """Sort the visible ids by depth: stable radix sort, 3 passes of 11 bits."""
    n = 0
    ids = np.empty(radii.shape[0], np.int32)
    for i in range(radii.shape[0]):
        if radii[i, 0] > 0 and radii[i, 1] > 0:
            ids[n] = i
            n += 1
    ids = ids[:n].copy()
    other = np.empty(n, np.int32)
    for shift in (0, 11, 22):
        count = np.zeros(2049, np.int64)
        for j in range(n):
            count[((depth_bits[ids[j]] >> shift) & 2047) + 1] += 1
        for j in range(2048):
            count[j + 1] += count[j]
        for j in range(n):
            key = (depth_bits[ids[j]] >> shift) & 2047
            other[count[key]] = ids[j]
            count[key] += 1
        ids, other = other, ids
    return ids


@kernel
def _tile_range(centre: float, radius: float, tiles: int) -> tuple[int, int]:
    """First and one-past-last tile that the extent can touch along one axis."""
    low = max(0, int(floor((centre - radius) / TILE)))
    high = min(tiles, int(floor((centre + radius) / TILE)) + 1)
    return low, high


@kernel
def _edge_least(a: float, b: float, c: float, x: float, low: float, high: float) -> float:
    """Least sigma on the edge ``x`` fixed, ``low <= y <= high``, relative to the mean."""
    y = min(max(-b * x / c, low), high)
    return 0.5 * (a * x * x + c * y * y) + b * x * y


@kernel
def _touches(x0: float, x1: float, y0: float, y1: float, conic: Array, limit: float) -> bool:
    """Say whether sigma falls to ``limit`` anywhere in a rectangle relative to the mean."""
    if x0 <= 0.0 <= x1 and y0 <= 0.0 <= y1:
        return True
    a, b, c = float(conic[0]), float(conic[1]), float(conic[2])
    least = min(_edge_least(a, b, c, x0, y0, y1), _edge_least(a, b, c, x1, y0, y1))
    least = min(least, _edge_least(c, b, a, y0, x0, x1))
    return min(least, _edge_least(c, b, a, y1, x0, x1)) <= limit


@kernel
def _capacity(order: Array, m2d: Array, ext: Array, tiles_x: int, tiles_y: int) -> Array:
    """Room that each visible Gaussian needs at most: the tiles of its rectangle, summed up."""
    start = np.zeros(order.shape[0] + 1, np.int64)
    for j in range(order.shape[0]):
        i = order[j]
        x0, x1 = _tile_range(m2d[i, 0], ext[i, 0], tiles_x)
        y0, y1 = _tile_range(m2d[i, 1], ext[i, 1], tiles_y)
        start[j + 1] = start[j] + max(0, x1 - x0) * max(0, y1 - y0)
    return start


@kernel
def _hits(
    begin: int,
    end: int,
    order: Array,
    m2d: Array,
    ext: Array,
    conic: Array,
    opacity: Array,
    tiles_x: int,
    tiles_y: int,
    room: Array,
    tiles: Array,
    counts: Array,
) -> None:
    """List the tiles that the Gaussians ``order[begin:end]`` really touch."""
    for j in range(begin, end):
        i = order[j]
        x, y = float(m2d[i, 0]), float(m2d[i, 1])
        x0, x1 = _tile_range(x, ext[i, 0], tiles_x)
        y0, y1 = _tile_range(y, ext[i, 1], tiles_y)
        limit = log(255.0 * float(opacity[i])) + 1e-4
        n = 0
        for ty in range(y0, y1):
            for tx in range(x0, x1):
                left, top = tx * TILE + 0.5 - x, ty * TILE + 0.5 - y
                if _touches(left, left + TILE - 1, top, top + TILE - 1, conic[i], limit):
                    tiles[room[j] + n] = ty * tiles_x + tx
                    n += 1
        counts[j] = n


@kernel
def _fill(order: Array, room: Array, tiles: Array, counts: Array, n_tiles: int) -> Array:
    """Turn the lists per Gaussian, in depth order, into lists per tile."""
    slot_start = np.zeros(order.shape[0] + 1, np.int64)
    tile_start = np.zeros(n_tiles + 1, np.int64)
    for j in range(order.shape[0]):
        slot_start[j + 1] = slot_start[j] + counts[j]
        for k in range(counts[j]):
            tile_start[tiles[room[j] + k] + 1] += 1
    for k in range(n_tiles):
        tile_start[k + 1] += tile_start[k]
    cursor = tile_start[:-1].copy()
    ids = np.empty(slot_start[-1], np.int32)
    slots = np.empty(slot_start[-1], np.int32)
    for j in range(order.shape[0]):
        for k in range(counts[j]):
            tile = tiles[room[j] + k]
            slots[slot_start[j] + k] = cursor[tile]
            ids[cursor[tile]] = order[j]
            cursor[tile] += 1
    return ids, tile_start, slots, slot_start


def bin_gaussians(
    radii: NDArray[np.int32],
    ext: NDArray[np.float32],
    m2d: NDArray[np.float32],
    depth: NDArray[np.float32],
    conic: NDArray[np.float32],
    opacity: NDArray[np.float32],
    *,
    width: int,
    height: int,
    n_threads: int,
) -> Bins:
    """List the Gaussians of every 16x16 tile from near to far.

    A Gaussian is in a tile's list only if it reaches opacity 1/255 at some pixel centre of the
    tile's rectangle, so the lists are shorter than gsplat's and the picture is the same.

    Args:
        radii: Radii in whole pixels, 0 where not visible, shape (N, 2).
        ext: Exact half extents, pixels, shape (N, 2).
        m2d: Centres, pixels, shape (N, 2).
        depth: Camera z, shape (N,).
        conic: Inverse covariances (xx, xy, yy), shape (N, 3).
        opacity: Opacities as drawn, shape (N,).
        width: Image width, pixels.
        height: Image height, pixels.
        n_threads: Threads for the culling.

    Returns:
        The lists; equal depths keep the order of the ids.
    """
    tiles_x, tiles_y = ceil(width / TILE), ceil(height / TILE)
    order = _depth_order(radii, depth.view(np.uint32))
    room = _capacity(order, m2d, ext, tiles_x, tiles_y)
    tiles = np.empty(int(room[-1]), np.int32)
    counts = np.empty(len(order), np.int32)
    spread(
        _hits,
        len(order),
        4096,
        n_threads,
        order,
        m2d,
        ext,
        conic,
        opacity,
        tiles_x,
        tiles_y,
        room,
        tiles,
        counts,
    )
    ids, tile_start, slots, slot_start = _fill(order, room, tiles, counts, tiles_x * tiles_y)
    return Bins(ids, tile_start, slots, slot_start, order)
