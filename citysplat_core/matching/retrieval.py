"""Photos that look alike: global descriptors and the nearest of them, without any weights.

The default describer is a VLAD: SIFT descriptors are assigned to a few words that are learned from
the photos themselves, and what is left over of each word is summed up (Jegou et al., CVPR 2010;
root-SIFT and intra-normalisation after Arandjelovic and Zisserman, CVPR 2012 and 2013).
"""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from citysplat_core.errors import MatchingError
from citysplat_core.matching.budget import Proposals
from citysplat_core.matching.pairs import sorted_pairs
from citysplat_core.matching.verify import Edges

_WORDS: Final = 32
_SAMPLE: Final = 30_000
"""Descriptors from which the words are learned."""
_PER_PHOTO: Final = 1000
"""Descriptors of a photo that are summed up, evenly taken."""
_DIMENSIONS: Final = 256
"""Length of a descriptor after its principal components are taken."""
_CHUNK: Final = 1024
_CROWD: Final = 4
"""Look-alikes asked for each one wanted, as most of them are refused."""

Describer: TypeAlias = Callable[[Path, NDArray[np.int64], int], NDArray[np.float32]]
"""From a database, colmap ids (N,) and a seed to rows of unit length (N, D)."""


def vlad(database: Path, colmap_ids: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    """Describe photos by the SIFT descriptors that a database has of them.

    Args:
        database: COLMAP database with SIFT descriptors.
        colmap_ids: Ids of the photos, shape (N,).
        seed: Seed of the words.

    Returns:
        Rows of unit length, shape (N, D); zeros for a photo without features.

    Raises:
        MatchingError: No photo has SIFT descriptors.
    """
    with pycolmap.Database.open(database) as opened:
        local = [_root_sift(opened, int(number)) for number in colmap_ids]
    n_all = sum(map(len, local))
    if not n_all:
        raise MatchingError(
            f"none of {len(local)} photos in {database.name} has SIFT descriptors",
            expected="SIFT features for the retrieval `vlad`",
            fix='Set features.backend to "sift" or "hybrid", or matching.retrieval to "none".',
        )
    every = max(n_all // _SAMPLE, 1)
    sample = np.concatenate(local)[::every].astype(np.float64)
    n_words = min(_WORDS, len(sample))
    words, _ = kmeans2(sample, n_words, iter=10, minit="points", rng=np.random.default_rng(seed))
    summed = np.stack([_summed(rows, words.astype(np.float32)) for rows in local])
    return _shortened(summed)


DESCRIBERS: Final = MappingProxyType[str, Describer]({"vlad": vlad})
"""Global descriptors by name; a learned one joins by being entered here."""


def _root_sift(database: pycolmap.Database, number: int) -> NDArray[np.float32]:
    if not database.exists_descriptors(number):
        return np.zeros((0, 128), dtype=np.float32)
    data = np.asarray(database.read_descriptors(number).data, dtype=np.float32)
    data = data[:: max(len(data) // _PER_PHOTO, 1)].reshape(-1, 128)
    rooted: NDArray[np.float32] = np.sqrt(data / np.maximum(data.sum(axis=1, keepdims=True), 1e-6))
    return rooted


def _summed(rows: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum what is left over of each word, every word at unit length."""
    summed = np.zeros_like(words)
    if len(rows):
        nearest = np.argmin((words**2).sum(axis=1) - 2.0 * rows @ words.T, axis=1)
        member = (nearest == np.arange(len(words))[:, None]).astype(np.float32)
        summed = member @ rows - member.sum(axis=1, keepdims=True) * words
        summed /= np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-9)
    return summed.ravel()


def _shortened(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep the principal components of the rows, at unit length."""
    if len(rows) > _DIMENSIONS:
        centred = rows.astype(np.float64) - rows.mean(axis=0)
        _, axes = np.linalg.eigh(centred.T @ centred)
        rows = (centred @ axes[:, -_DIMENSIONS:]).astype(np.float32)
    shortened: NDArray[np.float32] = rows / np.maximum(
        np.linalg.norm(rows, axis=1, keepdims=True), 1e-9
    )
    return shortened


def retrieve_pairs(
    descriptors: NDArray[np.float32],
    east_north_m: NDArray[np.float64],
    *,
    k: int,
    distance_m: float,
    allowed: Callable[[NDArray[np.int32]], NDArray[np.bool_]] | None = None,
) -> NDArray[np.int32]:
    """Give every photo the most alike photos among those within reach.

    Args:
        descriptors: Rows of unit length, shape (N, D).
        east_north_m: Positions, metres, shape (N, 2).
        k: Look-alikes a photo asks for (it can be asked for by more).
        distance_m: Largest distance.
        allowed: Says which of some pairs (P, 2) may see one thing; the four times k most alike
            photos are asked about.

    Returns:
        Pairs (i, j) with i < j, unique, sorted, shape (P, 2).
    """
    count = len(descriptors)
    wanted = min(k * _CROWD, count - 1)
    if wanted < 1:
        return np.zeros((0, 2), dtype=np.int32)
    found = []
    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count))
        alike = descriptors[rows] @ descriptors.T
        gap = east_north_m[rows][:, None] - east_north_m[None]
        alike[np.hypot(gap[..., 0], gap[..., 1]) > distance_m] = -np.inf
        alike[rows - start, rows] = -np.inf
        best = np.argsort(-alike, axis=1, kind="stable")[:, :wanted]
        listed = np.stack([np.repeat(rows, wanted), best.ravel()], axis=1)
        near = np.isfinite(np.take_along_axis(alike, best, axis=1).ravel())
        found.append(listed[near])
    pairs: NDArray[np.int32] = np.concatenate(found).astype(np.int32)
    if allowed is not None:
        pairs = pairs[allowed(pairs)]
    # The pairs of a row follow each other, the most alike first.
    first_of_row = np.searchsorted(pairs[:, 0], np.arange(count))
    rank = np.arange(len(pairs)) - first_of_row[pairs[:, 0]]
    return sorted_pairs(pairs[rank < k].astype(np.int64))


def retrieved_among(proposals: Proposals, edges: Edges) -> NDArray[np.bool_]:
    """Say which edges were proposed because they look alike, shape (E,).

    Such a pair has passed the gates of distance and view cone before it was compared: it may see
    one surface, be it across a valley.

    Args:
        proposals: Pairs of all sources.
        edges: Verified pairs of the same photos, the smaller row first.
    """
    alike = proposals.of("retrieval").astype(np.int64)
    count = int(max(alike.max(initial=0), edges.rows.max(initial=0))) + 1
    return np.isin(edges.rows @ [count, 1], alike @ [count, 1])
