"""The most useful partners of every photo in its surroundings, for a street or a whole city.

A grid of cells gives the surroundings. Every photo is judged by itself, so that threads share
nothing and the result does not depend on their number; memory grows with the number of photos
times ``max_neighbours``.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.pairs_gates import REASONS, Limits, Scene, gate
from citysplat_core.matching.view_cone import Array, kernel
from citysplat_core.storage import Progress, no_progress

_CHUNK: Final = 4096
"""Photos that a thread judges at a time."""
_ROOM: Final = 256
"""Candidates for which there is room at first; it grows."""
_NEARER: Final = 1e-3
"""Of equal overlaps the nearer one is worth a little more."""
_ALIKE_M: Final = 2.0
"""Partners closer to each other than this, which look one way, show one thing."""
_ALIKE_COSINE: Final = 0.9
_FADE: Final = 0.6
"""Worth of a partner for each better one that shows the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Pairs with what they are worth, each once.

    Attributes:
        pairs: Rows (i, j) with i < j, sorted, shape (P, 2).
        overlap: Predicted overlap, shape (P,).
        worth: The overlap, less where better partners show the same, shape (P,).
        rank: Place among the partners of the photo that wants it more, 0 for its best, shape (P,).
        refused: Pairs that a gate refused, by reason, and those beyond ``max_neighbours``.
    """

    pairs: NDArray[np.int32]
    overlap: NDArray[np.float32]
    worth: NDArray[np.float32]
    rank: NDArray[np.int32]
    refused: dict[str, int]


def rank_neighbours(
    scene: Scene,
    limits: Limits,
    *,
    max_neighbours: int,
    across: bool = False,
    n_threads: int = 1,
    progress: Progress = no_progress,
) -> Ranked:
    """Choose the most useful partners of every photo within the distance of the gates.

    A partner is worth its predicted overlap, times 0.6 for each better one that stands and looks
    alike: so a video's hundreds of frames a metre hide neither wide baselines nor other drives.

    Args:
        scene: The photos, from `scene_of`.
        limits: The gates; the distance is the radius of search.
        max_neighbours: Most partners a photo asks for (it can be asked for by more).
        across: Only pairs of two sides of a border.
        n_threads: Threads; the result does not depend on it.
        progress: Called after every 4,096 photos.
    """
    count = len(scene.side)
    keys, order, n_rows = _cells(scene, limits.distance_m)
    partner = np.full((count, max_neighbours), -1, dtype=np.int32)
    share = np.zeros((count, max_neighbours), dtype=np.float32)
    worth = np.zeros((count, max_neighbours), dtype=np.float32)

    def work(start: int) -> NDArray[np.int64]:
        stop = min(start + _CHUNK, count)
        found: NDArray[np.int64] = _rank(
            scene, limits, across, keys, order, n_rows, start, stop, partner, share, worth
        )
        return found

    with ThreadPoolExecutor(max(n_threads, 1)) as pool:
        told = np.zeros(len(REASONS), dtype=np.int64)
        for number, found in enumerate(pool.map(work, range(0, count, _CHUNK)), start=1):
            told += found
            progress(min(number * _CHUNK, count), count, "photos")
    return _united(partner, share, worth, told // 2)


def _cells(scene: Scene, side_m: float) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Sort photos by cell of a grid: keys of the sorted photos, their rows, keys per column."""
    if not len(scene.side):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), 3
    east, north = scene.views.east_m, scene.views.north_m
    column = np.floor((east - east.min()) / side_m).astype(np.int64) + 1
    row = np.floor((north - north.min()) / side_m).astype(np.int64) + 1
    n_rows = int(row.max()) + 2
    key = column * n_rows + row
    order = np.argsort(key, kind="stable")
    return key[order], order, n_rows


@kernel
def _rank(  # noqa: PLR0913, PLR0917 - kernels take arrays
    scene: Array,
    limits: Array,
    across: bool,
    keys: Array,
    order: Array,
    n_rows: int,
    start: int,
    stop: int,
    partner: Array,
    share: Array,
    worth: Array,
) -> Array:
    """Fill the partners of the sorted photos [start, stop); count the ordered pairs by reason."""
    told = np.zeros(len(REASONS), dtype=np.int64)
    near = np.empty(_ROOM, dtype=np.int64)
    value = np.empty(_ROOM, dtype=np.float32)
    faded = np.empty(_ROOM, dtype=np.float32)
    for place in range(start, stop):
        i = order[place]
        n_near = 0
        for shift in range(-1, 2):
            key = keys[place] + shift * n_rows
            for other in range(_lower(keys, key - 1), _lower(keys, key + 2)):
                j = order[other]
                if j == i or (across and scene.side[i] == scene.side[j]):
                    continue
                square = _square_m2(scene.views, i, j)
                if square > limits.distance_m**2:
                    continue  # nobody wanted it
                code, found = gate(scene, limits, i, j)
                told[code] += 1
                if code != 0:
                    continue
                if n_near == len(near):
                    near = np.concatenate((near, near))
                    value = np.concatenate((value, value))
                    faded = np.empty(2 * len(faded), dtype=np.float32)
                near[n_near] = j
                value[n_near] = found
                faded[n_near] = found + _NEARER / (1.0 + square)
                n_near += 1
        n_kept = min(n_near, partner.shape[1])
        told[0] -= n_kept
        for wanted in range(n_kept):
            best = np.argmax(faded[:n_near])
            partner[i, wanted] = near[best]
            share[i, wanted] = value[best]
            worth[i, wanted] = faded[best]
            faded[best] = -1.0
            _fade(scene.views, near[:n_near], faded, near[best])
    return told


@kernel
def _square_m2(views: Array, i: int, j: int) -> float:
    east, north = views.east_m[i] - views.east_m[j], views.north_m[i] - views.north_m[j]
    return float(east * east + north * north)


@kernel
def _fade(views: Array, near: Array, faded: Array, chosen: int) -> None:
    """Lower the worth of the candidates that show what the chosen one shows."""
    for k in range(len(near)):
        if faded[k] > 0.0 and _square_m2(views, near[k], chosen) < _ALIKE_M * _ALIKE_M:
            cosine = views.sine[near[k]] * views.sine[chosen]
            cosine += views.cosine[near[k]] * views.cosine[chosen]
            both_known = views.known[near[k]] and views.known[chosen]
            if cosine >= _ALIKE_COSINE or not both_known:
                faded[k] *= _FADE


@kernel
def _lower(keys: Array, wanted: int) -> int:
    """Return the place of the first key that is not smaller (`numpy.searchsorted`)."""
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


def _united(
    partner: NDArray[np.int32],
    share: NDArray[np.float32],
    worth: NDArray[np.float32],
    told: NDArray[np.int64],
) -> Ranked:
    """Turn partners of photos into pairs, each once, with its better worth and rank."""
    count, wanted = partner.shape
    asked = partner.ravel() >= 0
    rank = np.tile(np.arange(wanted, dtype=np.int32), count)[asked]
    first = np.repeat(np.arange(count, dtype=np.int64), wanted)[asked]
    second = partner.ravel()[asked].astype(np.int64)
    key = np.minimum(first, second) * count + np.maximum(first, second)
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, int)
    names = {REASONS[n]: int(told[n]) for n in range(1, len(REASONS)) if told[n]}
    if told[0] > 0:
        names["crowd"] = int(told[0])
    if not len(key):
        empty = np.zeros(0, dtype=np.float32)
        return Ranked(
            pairs=np.zeros((0, 2), dtype=np.int32),
            overlap=empty,
            worth=empty,
            rank=np.zeros(0, dtype=np.int32),
            refused=names,
        )
    pairs = np.stack([key[starts] // count, key[starts] % count], axis=1).astype(np.int32)
    return Ranked(
        pairs=pairs,
        overlap=np.maximum.reduceat(share.ravel()[asked][order], starts),
        worth=np.maximum.reduceat(worth.ravel()[asked][order], starts),
        rank=np.minimum.reduceat(rank[order], starts),
        refused=names,
    )
