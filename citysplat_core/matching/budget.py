"""The pairs of all sources as one list, and the budget that keeps the most useful of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SOURCES: Final = ("expansion", "fringe", "retrieval", "sequence", "spatial")
"""Names of the sources; a pair's sources are a bit each, in this order."""

OVER_BUDGET: Final = "over budget"
"""Reason of the pairs that the budget left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Pairs that one source wants.

    Attributes:
        source: Name out of ``SOURCES``.
        pairs: Rows (i, j) with i < j, each once, shape (P, 2).
        overlap: Predicted overlap, shape (P,).
        worth: What they are worth beside the pairs of other sources, shape (P,); pairs worth 1 or
            more are kept before all others.
    """

    source: str
    pairs: NDArray[np.int32]
    overlap: NDArray[np.float32]
    worth: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Pairs to compare, each once.

    Attributes:
        pairs: Rows (i, j) with i < j, sorted, shape (P, 2), int32.
        sources: Bits of the sources that wanted it, shape (P,), uint8.
        overlap: Predicted overlap, shape (P,), float32.
        round: 0 for first proposals, else the round of expansion, shape (P,), uint8.
        refused: Pairs that were not proposed, by reason.
    """

    pairs: NDArray[np.int32]
    sources: NDArray[np.uint8]
    overlap: NDArray[np.float32]
    round: NDArray[np.uint8]
    refused: dict[str, int]

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.pairs)

    def of(self, source: str) -> NDArray[np.int32]:
        """Return the pairs that a source wanted, shape (P, 2)."""
        wanted: NDArray[np.int32] = self.pairs[(self.sources & bit_of(source)) > 0]
        return wanted

    def source_names(self) -> list[str]:
        """Name the sources of every pair, joined by ``|``."""
        names = [
            "|".join(name for name in SOURCES if bits & bit_of(name))
            for bits in range(1 << len(SOURCES))
        ]
        return [names[bits] for bits in self.sources.tolist()]


def bit_of(source: str) -> int:
    """Return the bit that stands for a source."""
    return 1 << SOURCES.index(source)


def unite(
    found: Iterable[Candidates], n_photos: int, *, budget: int, refused: dict[str, int]
) -> Proposals:
    """Put the pairs of all sources together, each once, and keep the most useful.

    A pair of several sources has the largest worth that one of them gives it. Among pairs of equal
    worth the one of the lower rows is kept, so the result depends on nothing but the input.

    Args:
        found: Pairs of each source.
        n_photos: Photos that the rows count.
        budget: Most pairs.
        refused: Pairs that the sources left out, by reason; those over the budget are added.
    """
    parts = list(found)
    key = np.concatenate([keys_of(part.pairs, n_photos) for part in parts] or [np.zeros(0, int)])
    if not len(key):
        return nothing(refused)
    bits = np.repeat([bit_of(part.source) for part in parts], [len(part.pairs) for part in parts])
    order = np.argsort(key, kind="stable")
    key = key[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    worth = np.maximum.reduceat(np.concatenate([part.worth for part in parts])[order], starts)
    overlap = np.maximum.reduceat(np.concatenate([part.overlap for part in parts])[order], starts)
    sources = np.bitwise_or.reduceat(bits.astype(np.uint8)[order], starts)
    key = key[starts]
    if len(key) > budget:
        kept = np.sort(np.argsort(-worth, kind="stable")[:budget])
        refused = refused | {OVER_BUDGET: refused.get(OVER_BUDGET, 0) + len(key) - budget}
        key, overlap, sources = key[kept], overlap[kept], sources[kept]
    return Proposals(
        pairs=np.stack([key // n_photos, key % n_photos], axis=1).astype(np.int32),
        sources=sources,
        overlap=overlap,
        round=np.zeros(len(key), dtype=np.uint8),
        refused=refused,
    )


def nothing(refused: dict[str, int] | None = None) -> Proposals:
    """Return no pairs."""
    return Proposals(
        pairs=np.zeros((0, 2), dtype=np.int32),
        sources=np.zeros(0, dtype=np.uint8),
        overlap=np.zeros(0, dtype=np.float32),
        round=np.zeros(0, dtype=np.uint8),
        refused=refused or {},
    )


def keys_of(pairs: NDArray[np.int32], n_photos: int) -> NDArray[np.int64]:
    """Return one number for each pair (i, j) of rows, which sorts as the pairs do, shape (P,)."""
    rows = pairs.astype(np.int64)
    return np.asarray(rows[:, 0] * n_photos + rows[:, 1])
