"""Which photos of a model see which points, and how firmly that holds the model together.

Photos of a street see what lies beside them; cut the street anywhere, and most photos see nothing
of the other side. Look-alike houses glue two streets by the few photos that see them. Photos from
the air see each place many times over: wherever such a model is cut, nearly every photo of a part
sees the same points as many photos of the other, and no part can lie wrongly alone.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_LEAST_PHOTOS: Final = 20
"""Fewer may all see one house."""
_TIED: Final = 15
"""Points that two photos see tie them."""
_ACROSS: Final = 5
"""Photos on the other side of a cut that hold a photo."""
_HELD_SHARE: Final = 0.9


def is_firm(model: pycolmap.Reconstruction) -> bool:
    """Say whether a model's photos hold each other wherever one would cut it.

    Args:
        model: A reconstruction with points.

    Returns:
        True if it has twenty photos and if, at each cut of the strongest tree of photos that see
        the same points, nine of ten photos of the smaller part share at least fifteen points with
        each of at least five photos of the other.
    """
    ids = np.array(sorted(model.reg_image_ids()), dtype=np.int64)
    seen = sightings(model, ids)
    sides = tree_cuts(seen)[1]
    return len(sides) == len(ids) - 1 and holds_at(seen, sides)


def holds_at(seen: csr_array, sides: Sequence[Bools]) -> bool:
    """Say whether a model of at least twenty photos holds at some cuts as `is_firm` wants it.

    Args:
        seen: Which photos see which points, shape (points, photos), ones.
        sides: What lies on one side of each cut, shape (photos,).
    """
    n_photos = seen.shape[1]
    if n_photos < _LEAST_PHOTOS:
        return False
    first, second = (shared := coo_array(seen.T @ seen)).coords
    tied = (shared.data >= _TIED) & (first != second)
    partners = graph_of(np.stack([first[tied], second[tied]], axis=1), n_photos)
    return all(_held_share(partners, side) >= _HELD_SHARE for side in sides)


def _held_share(partners: csr_array, side: Bools) -> float:
    smaller = side if 2 * side.sum() <= len(side) else ~side
    n_across = partners @ (~smaller).astype(np.float64)
    return float((n_across[smaller] >= _ACROSS).mean())


def sightings(model: pycolmap.Reconstruction, ids: Ints) -> csr_array:
    """Say which photos see which points, shape (points, photos), ones."""
    row_of = {image_id: row for row, image_id in enumerate(ids.tolist())}
    points: list[int] = []
    photos: list[int] = []
    for number, point in enumerate(model.points3D.values()):
        rows = {row_of[e.image_id] for e in point.track.elements if e.image_id in row_of}
        points.extend([number] * len(rows))
        photos.extend(sorted(rows))
    shape = (max(points, default=0) + 1, len(ids))
    return csr_array((np.ones(len(points), np.int32), (points, photos)), shape=shape)


def count_crossing(seen: csr_array, inside: Bools) -> int:
    """Count the points that photos on both sides of a cut see."""
    within = seen @ inside.astype(np.int32)
    return int(((within > 0) & (within < np.diff(seen.indptr))).sum())


def tree_cuts(seen: csr_array) -> tuple[Ints, list[Bools]]:
    """Cut the tree of photos that share most points at each of its edges.

    Returns:
        The edges, rows of two photos, shape (T, 2), and for each what hangs on one side of it.
    """
    shared = coo_array(seen.T @ seen)
    first, second = shared.coords
    upper = first < second
    weights = graph_of(
        np.stack([first[upper], second[upper]], axis=1), shared.shape[0], 1 / shared.data[upper]
    )
    edges = np.stack(minimum_spanning_tree(weights).nonzero(), axis=1).astype(np.int64)
    sides = []
    for k in range(len(edges)):
        rest = graph_of(np.delete(edges, k, axis=0), shared.shape[0])
        _, part = connected_components(rest, directed=False)
        sides.append(np.asarray(part == part[edges[k, 1]]))
    return edges, sides


def graph_of(edges: Ints, n: int, weights: Floats | None = None) -> csr_array:
    """Give the matrix of a graph of ``n`` photos, ones where no weights are told."""
    values = np.ones(len(edges)) if weights is None else weights
    return csr_array((values, (edges[:, 0], edges[:, 1])), shape=(n, n))
