"""Cameras beside each other stand on one street: their heights agree, whatever their GPS says.

Heights of GPS are off by many metres, and a component that shares no photo with others has no
better ones of its own. But the photos of two components on one street are taken from about the same
height above it. Bridges and photos from the air are outliers of this rule.
"""

from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from citysplat_core.mapping.graph import Alignment, Cameras, Floats, Graph, Ints
from citysplat_core.mapping.slopes import cauchy, cauchy_slopes

_CELL_M: Final = 8.0
_BESIDE_M: Final = 12.0
_MOST: Final = 24
"""More ties between two components say nothing new."""
_CAUCHY: Final = 2.0


def find_ground_ties(cameras: Cameras) -> Ints:
    """Pair cameras of different components that stand at most 12 m apart, seen from above.

    Returns:
        Row pairs, the lower component first, shape (K, 2); at most 24 for two components, spread
        over all places where they meet.
    """
    cells = np.floor(cameras.center[:, :2] / _CELL_M)
    _, rows = np.unique(np.column_stack([cameras.node, cells]), axis=0, return_index=True)
    near = cKDTree(cameras.center[rows, :2]).query_pairs(_BESIDE_M, output_type="ndarray")
    pairs = rows[near]
    pairs = pairs[cameras.node[pairs[:, 0]] != cameras.node[pairs[:, 1]]]
    swapped = cameras.node[pairs[:, 0]] > cameras.node[pairs[:, 1]]
    pairs[swapped] = pairs[swapped, ::-1]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    _, of, counts = np.unique(cameras.node[pairs], axis=0, return_inverse=True, return_counts=True)
    of = of.ravel()
    order = np.argsort(of, kind="stable")
    place = np.empty(len(pairs), np.int64)
    place[order] = np.arange(len(pairs)) - np.repeat(np.cumsum(counts) - counts, counts)
    every = np.ceil(counts / _MOST).astype(np.int64)
    return np.asarray(pairs[place % every[of] == 0], dtype=np.int64)


def height_steps(found: Alignment, graph: Graph, sigma_m: float) -> Floats:
    """Give the whitened difference of height of each ground tie, (0, 0, z), shape (K, 3)."""
    return cauchy(_raw(found, graph, sigma_m), _CAUCHY)


def height_slopes(
    found: Alignment, graph: Graph, sigma_m: float, center_slopes: tuple[Floats, Floats]
) -> Floats:
    """Give the derivatives of ``height_steps`` by its two components, shape (K, 3, 2, 7).

    Args:
        found: The alignment.
        graph: With the ground ties.
        sigma_m: Expected difference, metres.
        center_slopes: Of the centres of the first and of the second cameras, shape (K, 3, 7) each.
    """
    outer = cauchy_slopes(_raw(found, graph, sigma_m), _CAUCHY)
    slopes = np.stack([center_slopes[0], -center_slopes[1]], axis=2) / sigma_m
    slopes[:, :2] = 0.0
    flat = outer @ slopes.reshape(len(slopes), 3, 14)
    return np.asarray(flat.reshape(slopes.shape))


def _raw(found: Alignment, graph: Graph, sigma_m: float) -> Floats:
    first, second = (found.centers(graph.cameras, rows) for rows in graph.ground.T)
    return (first - second) * (0.0, 0.0, 1.0 / sigma_m)
