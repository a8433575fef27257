"""The verified pairs as a graph: what hangs together, and by which pairs alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True, slots=True, kw_only=True)
class PairGraph:
    """How photos hang together by verified pairs.

    Attributes:
        component: Number of each photo's component, the largest is 0, shape (N,).
        sizes: Photos of each component, falling, shape (C,).
        bridges: Places in the list of pairs of those without which a component falls apart; those
            that join the most photos come first, shape (B,).
        joined: Photos on the two sides of each bridge, the smaller number first, shape (B, 2).
    """

    component: NDArray[np.int64]
    sizes: NDArray[np.int64]
    bridges: NDArray[np.int64]
    joined: NDArray[np.int64]

    @property
    def is_alone(self) -> NDArray[np.bool_]:
        """Which photos have no pair, shape (N,)."""
        return np.asarray(self.sizes[self.component] == 1)


def graph_of(n_photos: int, pairs: NDArray[np.int64]) -> PairGraph:
    """Find components and bridges, in time linear in photos and pairs.

    Args:
        n_photos: Photos.
        pairs: Rows (i, j) of verified pairs, each once, i and j different, shape (P, 2).
    """
    ones = np.ones(len(pairs), dtype=np.int8)
    matrix = csr_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n_photos, n_photos))
    count, labels = connected_components(matrix, directed=False)
    sizes = np.bincount(labels, minlength=count)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    component, sizes = rank[labels], sizes[order].astype(np.int64)
    bridges, below = _bridges(n_photos, pairs)
    whole = sizes[component[pairs[bridges, 0]]]
    joined = np.sort(np.stack([below, whole - below], axis=1), axis=1)
    strongest = np.lexsort((bridges, -joined[:, 1], -joined[:, 0]))
    return PairGraph(
        component=component, sizes=sizes, bridges=bridges[strongest], joined=joined[strongest]
    )


def _bridges(n: int, pairs: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the pairs that lie on no cycle and the photos below each, by depth-first search.

    Tarjan, A note on finding the bridges of a graph, 1974; without recursion, as chains of photos
    are longer than Python's stack.
    """
    first, to, edge = _links(n, pairs)
    seen, low, size = [-1] * n, [0] * n, [1] * n
    at = first[:n]
    bridges, below = [], []
    clock = 0
    for root in range(n):
        if seen[root] >= 0:
            continue
        seen[root] = low[root] = clock
        clock += 1
        stack, came_by = [root], [-1]
        while stack:
            here = stack[-1]
            if at[here] < first[here + 1]:
                place = at[here]
                at[here] += 1
                there = to[place]
                if edge[place] == came_by[-1]:
                    continue
                if seen[there] >= 0:
                    low[here] = min(low[here], seen[there])
                    continue
                seen[there] = low[there] = clock
                clock += 1
                stack.append(there)
                came_by.append(edge[place])
                continue
            stack.pop()
            by = came_by.pop()
            if stack:
                above = stack[-1]
                low[above] = min(low[above], low[here])
                size[above] += size[here]
                if low[here] > seen[above]:
                    bridges.append(by)
                    below.append(size[here])
    return np.array(bridges, dtype=np.int64), np.array(below, dtype=np.int64)


def _links(n: int, pairs: NDArray[np.int64]) -> tuple[list[int], list[int], list[int]]:
    """List the links of photo after photo: where each begins, other ends, places of the pairs."""
    ends = np.concatenate([pairs, pairs[:, ::-1]])
    by_start = np.argsort(ends[:, 0], kind="stable")
    first = np.searchsorted(ends[by_start, 0], np.arange(n + 1))
    edge = by_start % max(len(pairs), 1)
    return first.tolist(), ends[by_start, 1].tolist(), edge.tolist()
