"""In which order pairs are compared, and how many between two points of restart.

COLMAP reads the descriptors of an image and builds its search index once a call. Small calls over
pairs in the order of their ids do that for almost every pair anew; a large call costs as much work
when it is killed.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

Pair = tuple[int, int]

FIRST_PAIRS: Final = 512
"""Pairs of the first chunk, before the rate is known."""
FIRST_PAIRS_LEARNED: Final = 8
"""The same where a network matches, at a second a pair."""
MOST_PAIRS: Final = 16_384
"""Pairs of the largest chunk, however fast the machine."""
AIM_S: Final = 25.0
"""Seconds that a chunk should take: about what a kill costs."""
_GROWTH: Final = 4
"""A chunk has at most so many times the pairs of the one before it."""


def order_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """Order pairs so that those that follow each other share few images.

    The images are numbered by reverse Cuthill-McKee on the graph of the pairs, which puts linked
    ones near each other; no positions are needed. 12,685 pairs of 1,000 photos, by 512 a chunk:
    2,155 images to read and not 9,292.

    Args:
        pairs: Ids of two images.

    Returns:
        The same pairs; the order depends on nothing but their set.
    """
    if not pairs:
        return []
    sorted_ids = np.array(sorted(pairs), dtype=np.int64)
    ids, rows = np.unique(sorted_ids, return_inverse=True)
    first, second = rows.reshape(-1, 2).T
    ends = np.concatenate([first, second]), np.concatenate([second, first])
    links = csr_array((np.ones(2 * len(first), dtype=np.int8), ends), shape=(len(ids), len(ids)))
    rank = np.empty(len(ids), dtype=np.int64)
    rank[reverse_cuthill_mckee(links, symmetric_mode=True)] = np.arange(len(ids))
    near, far = np.minimum(rank[first], rank[second]), np.maximum(rank[first], rank[second])
    return [(int(a), int(b)) for a, b in sorted_ids[np.lexsort((far, near))]]


def chunks_of(pairs: Sequence[Pair], first: int) -> Iterator[list[Pair]]:
    """Cut pairs into chunks that take about `AIM_S` seconds each.

    The time between two chunks that are asked for is taken as that of the first of them.

    Args:
        pairs: The pairs, in order.
        first: Pairs of the first chunk.
    """
    start, size = 0, first
    while start < len(pairs):
        began = time.monotonic()
        chunk = list(pairs[start : start + size])
        yield chunk
        start += len(chunk)
        pace = len(chunk) / max(time.monotonic() - began, 1e-3)
        size = max(1, min(int(pace * AIM_S), _GROWTH * size, MOST_PAIRS))
