"""The quadtree cut: which box each photo falls in, and which boxes touch.

All of it works on Morton codes: the code of a tile interleaves the bits of y and x, so that the
tiles below a tile are a range of codes, and codes sort as quadkeys do.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from citysplat_core.geography.quadkeys import tile_of, tile_of_quadkey

Kind = Literal["edge", "corner"]
_SPREAD = (
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)


def morton(x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
    """Interleave the bits of tile columns and rows, y's above x's; zooms to 26, any shape."""
    return _spread(x) | (_spread(y) << 1)


def _spread(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put a zero between any two bits."""
    bits = values & 0xFFFFFFFF
    for shift, mask in _SPREAD:
        bits = (bits | (bits << shift)) & mask
    return bits


def cut_boxes(
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    *,
    min_zoom: int,
    max_zoom: int,
    max_images: int,
) -> tuple[list[str], NDArray[np.int64]]:
    """Cut positions into boxes: leaves of a quadtree that splits where photos are many.

    Args:
        lon: Longitudes, degrees, shape (N,).
        lat: Latitudes, degrees, shape (N,).
        min_zoom: Zoom of the coarsest box.
        max_zoom: Zoom of the finest box; it may hold more than ``max_images``.
        max_images: Most photos of a coarser box.

    Returns:
        The quadkeys of the boxes, sorted, and for each position the number of its box in that
        list, shape (N,). The same photos give the same boxes, in any order; O(N log N).

    Raises:
        GeoreferenceError: A position is outside web mercator.
    """
    codes = morton(*tile_of(lon, lat, max_zoom))
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    zooms = np.empty(len(ordered), dtype=np.int64)
    undecided = np.arange(len(ordered))
    for zoom in range(min_zoom, max_zoom + 1):
        tiles = ordered[undecided] >> (2 * (max_zoom - zoom))
        starts = np.flatnonzero(np.diff(tiles, prepend=-1))
        counts = np.diff(starts, append=len(tiles))
        is_leaf = np.repeat((counts <= max_images) | (zoom == max_zoom), counts)
        zooms[undecided[is_leaf]] = zoom
        undecided = undecided[~is_leaf]
        if not undecided.size:
            break
    leaves = ordered >> (2 * (max_zoom - zooms)) << (2 * (max_zoom - zooms))
    firsts = np.diff(leaves, prepend=-1) != 0
    keys = [
        _key_of(int(code), int(zoom), max_zoom)
        for code, zoom in zip(leaves[firsts], zooms[firsts], strict=True)
    ]
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.cumsum(firsts) - 1
    return keys, number


def _key_of(code: int, zoom: int, max_zoom: int) -> str:
    digits = code >> (2 * (max_zoom - zoom))
    return "".join(str((digits >> (2 * i)) & 3) for i in range(zoom - 1, -1, -1))


def assign_boxes(
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    *,
    min_zoom: int,
    max_zoom: int,
    max_images: int,
) -> NDArray[np.str_]:
    """Give each position the quadkey of its box, shape (N,); arguments as in ``cut_boxes``."""
    keys, number = cut_boxes(lon, lat, min_zoom=min_zoom, max_zoom=max_zoom, max_images=max_images)
    return np.array(keys, dtype=f"<U{max_zoom}")[number]


def find_fringes(keys: Iterable[str]) -> list[tuple[str, str, Kind]]:
    """List the pairs of boxes that touch, sorted, as (a, b, kind) with a < b.

    Boxes of different zooms touch where their squares do: each box looks up the finest tiles that
    surround it. Cost grows with the number of boxes and with their size in finest tiles.

    Args:
        keys: Quadkeys of boxes that do not overlap.
    """
    ordered = sorted(set(keys))
    if len(ordered) < 2:
        return []
    tiles = np.array([tile_of_quadkey(key) for key in ordered], dtype=np.int64)
    finest = int(tiles[:, 0].max())
    size = np.int64(1) << (finest - tiles[:, 0])
    corners = tiles[:, 1:] * size[:, None]
    low, high = _touching(corners, size, 1 << finest)
    meet = np.minimum(corners[low] + size[low, None], corners[high] + size[high, None])
    meet -= np.maximum(corners[low], corners[high])
    is_corner = (meet == 0).all(axis=1)
    return [
        (ordered[a], ordered[b], "corner" if corner else "edge")
        for a, b, corner in zip(low.tolist(), high.tolist(), is_corner.tolist(), strict=True)
    ]


def _touching(
    corners: NDArray[np.int64], size: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair the boxes (in Morton order) that have each other's tiles around them, sorted."""
    starts = morton(corners[:, 0], corners[:, 1])
    found = []
    for each in np.unique(size).tolist():
        boxes = np.flatnonzero(size == each)
        around = corners[boxes, None, :] + _ring(each)[None, :, :]
        inside = ((around >= 0) & (around < width)).all(axis=2)
        codes = morton(around[..., 0], around[..., 1])
        other = np.maximum(np.searchsorted(starts, codes, side="right") - 1, 0)
        inside &= (codes >= starts[other]) & (codes < starts[other] + size[other] ** 2)
        rows, columns = np.nonzero(inside)
        found.append(np.stack([boxes[rows], other[rows, columns]], axis=1))
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _ring(size: int) -> NDArray[np.int64]:
    """Give the finest tiles around a square of ``size`` tiles, relative to its north-west one."""
    along = np.arange(-1, size + 1)
    sides = [(along, np.full_like(along, edge)) for edge in (-1, size)]
    sides += [(np.full(size, edge), np.arange(size)) for edge in (-1, size)]
    return np.concatenate([np.stack(side, axis=1) for side in sides])
