"""Photos that several components hold: what ties the boxes, and how well they agree."""

from collections.abc import Collection
from itertools import combinations, product
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from citysplat_core.geography import tile_of_quadkey

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

APART_M: Final = 0.5
"""A fringe whose shared photos stand further apart, in the median, does not agree."""


def find_seams(colmap_id: ArrayLike, node: Ints, *, min_shared: int) -> Ints:
    """List the row pairs that are one photo in two components.

    Args:
        colmap_id: Photo of every registration, shape (N,).
        node: Its component, shape (N,).
        min_shared: Two components that share fewer photos are not tied.

    Returns:
        Row pairs, ordered by component, shape (S, 2).
    """
    by_nodes: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for rows in pd.Series(np.asarray(colmap_id)).groupby(np.asarray(colmap_id)).groups.values():
        for a, b in combinations(sorted(rows, key=lambda row: node[row]), 2):
            if node[a] != node[b]:
                by_nodes.setdefault((int(node[a]), int(node[b])), []).append((int(a), int(b)))
    kept = [
        pair
        for key in sorted(by_nodes)
        for pair in by_nodes[key]
        if len(by_nodes[key]) >= min_shared
    ]
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def count_groups(n_nodes: int, ties: Ints) -> Ints:
    """Number the connected groups of components, shape (n_nodes,)."""
    if not n_nodes:
        return np.zeros(0, np.int64)
    pairs = np.asarray(ties).reshape(-1, 2)
    shape = (n_nodes, n_nodes)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=shape)
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def measure_fringes(
    rows: pd.DataFrame,
    aligned: Floats,
    *,
    solved: Collection[tuple[str, int]],
    boxes: Collection[str],
    min_shared: int = 2,
) -> pd.DataFrame:
    """Measure how far apart two boxes put the photos they share.

    Args:
        rows: One row a registration: colmap_id, solved_in, is_first, east_m, north_m, up_m.
        aligned: Camera centres after alignment, metres, shape (len(rows), 3).
        solved: (box, component) of the accepted components.
        boxes: All boxes of the plan.
        min_shared: Fewer shared photos do not tie.

    Returns:
        Columns fringe, n_shared, before_m, after_m (medians, NaN without shared photos), state;
        one row for each two boxes that touch or share a photo, sorted.
    """
    first = rows["is_first"].to_numpy(bool)
    table = rows.loc[first, ["colmap_id", "solved_in"]].reset_index(drop=True)
    before = rows.loc[first, ["east_m", "north_m", "up_m"]].to_numpy(float)
    table = table.assign(row=np.arange(len(table)))
    both = table.merge(table, on="colmap_id", suffixes=("_a", "_b"))
    both = both[both["solved_in_a"] < both["solved_in_b"]]
    found = {
        key: (len(group), _median_gap(before, group), _median_gap(aligned[first], group))
        for key, group in both.groupby(["solved_in_a", "solved_in_b"])
    }
    solved_boxes = {box for box, _ in solved}
    result = []
    for a, b in sorted(set(found) | _touching(boxes)):
        n_shared, before_m, after_m = found.get((a, b), (0, float("nan"), float("nan")))
        state = "tied" if n_shared >= min_shared else "too few shared"
        if state == "tied" and after_m > APART_M:
            state = "apart"
        if not {a, b} <= solved_boxes:
            state = "not solved"
        result.append((f"{a}--{b}", n_shared, before_m, after_m, state))
    return pd.DataFrame(result, columns=["fringe", "n_shared", "before_m", "after_m", "state"])


def _median_gap(centers: Floats, group: pd.DataFrame) -> float:
    gap = centers[group["row_a"].to_numpy()] - centers[group["row_b"].to_numpy()]
    return float(np.median(np.linalg.norm(gap, axis=1)))


def _touching(boxes: Collection[str]) -> set[tuple[str, str]]:
    """Pair the boxes that share an edge or a corner, whatever their zooms."""
    known = {tile_of_quadkey(key): key for key in boxes}
    zooms = {z for z, _, _ in known}
    found = set()
    for (z, x, y), key in known.items():
        for nx, ny in product((x - 1, x, x + 1), (y - 1, y, y + 1)):
            for up in (z - zoom for zoom in zooms if zoom <= z):
                other = known.get((z - up, nx >> up, ny >> up), key)
                if other != key:
                    found.add((min(key, other), max(key, other)))
    return found
