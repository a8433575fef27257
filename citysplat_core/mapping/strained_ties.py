"""Shared photos that tie two components where GPS does not want them."""

import numpy as np

from citysplat_core.mapping.graph import Cameras, Floats, Ints
from citysplat_core.mapping.similarity import fit_plane_similarity
from citysplat_core.mapping.splitting import MOST_STRAIN
from citysplat_core.mapping.strain import strain

_LEAST = 3
_LEAST_REACH_M = 4.0


def strained_ties(
    cameras: Cameras, gps: Floats, seams: Ints, *, noise_m: float, shared_m: float, seed: int
) -> list[tuple[int, int]]:
    """Find the pairs of components that their shared photos put where GPS does not want them.

    One of the two is wrong inside, mostly by look-alike houses at one of its ends; which one, the
    photos do not tell. Their tie would drag both.

    Args:
        cameras: All registrations, georegistered by component.
        gps: Their positions, metres, NaN where unknown, shape (N, 3).
        seams: Row pairs that are one photo in two components, shape (S, 2).
        noise_m: Expected error of a position along an axis, metres.
        shared_m: The error that the positions of one drive share, metres.
        seed: Seed of the random draws.

    Returns:
        Pairs of components, the smaller number first, sorted. Ties of fewer than three photos, or
        of photos in one spot, are not judged.
    """
    found = []
    nodes = np.sort(cameras.node[seams], axis=1) if len(seams) else np.zeros((0, 2), np.int64)
    known = np.isfinite(gps[:, 0])
    for a, b in np.unique(nodes, axis=0).tolist():
        mine = seams[(nodes == (a, b)).all(axis=1)]
        mine = np.where(cameras.node[mine] == (a, b), mine, mine[:, ::-1])
        first, second = (cameras.center[mine[:, k], :2] for k in (0, 1))
        if len(mine) < _LEAST or np.hypot(*np.ptp(first, axis=0)) < _LEAST_REACH_M:
            continue
        rng = np.random.default_rng([seed, a, b])
        fit = fit_plane_similarity(second, first, sigma_m=1.0, rng=rng)
        if fit is None:
            continue
        here, there = (np.flatnonzero(known & (cameras.node == k)) for k in (a, b))
        moved = cameras.center[there, :2] @ fit.matrix.T + fit.offset
        places = np.concatenate([cameras.center[here, :2], moved])
        rows = np.concatenate([here, there])
        said = strain(
            places, gps[rows, :2], np.arange(len(rows)) >= len(here),
            noise_m=noise_m, shared_m=shared_m,
        )  # fmt: skip
        if said > MOST_STRAIN:
            found.append((int(a), int(b)))
    return found
