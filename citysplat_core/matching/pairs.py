"""Pairs along sequences, and what every source of pairs shares.

All functions are pure and work on row numbers. A pair is (i, j) with i < j.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

NO_SEQUENCE: Final = -1
"""Sequence number of a photo that belongs to no sequence."""

NO_PANORAMA: Final = -1
"""Panorama number of a photo that was cut out of none."""


def wrap_deg(angle_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring angles into [-180, 180) degrees; NaN stays NaN."""
    return (angle_deg + 180.0) % 360.0 - 180.0


def propose_sequence_pairs(
    sequence: NDArray[np.int64],
    captured_at: NDArray[np.int64],
    *,
    steps: tuple[int, ...] = (1, 2, 4, 8),
) -> NDArray[np.int32]:
    """Propose the photos that follow each other in a sequence.

    Compass and position are not asked: both lie for whole sequences in real data.

    Args:
        sequence: Sequence number of every photo, shape (N,); ``NO_SEQUENCE`` for none.
        captured_at: Time of capture in any unit, shape (N,); equal times keep the order of rows.
        steps: How many photos later the partner is.

    Returns:
        Pairs (i, j) with i < j, unique, sorted, shape (P, 2).
    """
    order = np.lexsort((np.arange(len(sequence)), captured_at, sequence))
    found = []
    for step in steps:
        first, second = order[:-step], order[step:]
        same = (sequence[first] == sequence[second]) & (sequence[first] != NO_SEQUENCE)
        found.append(np.stack([first[same], second[same]], axis=1))
    return sorted_pairs(np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64))


def sorted_pairs(pairs: NDArray[np.int64]) -> NDArray[np.int32]:
    """Put the smaller row first, drop doubles, sort."""
    if not len(pairs):
        return np.zeros((0, 2), dtype=np.int32)
    count = int(pairs.max()) + 1
    key = np.unique(pairs.min(axis=1) * count + pairs.max(axis=1))
    return np.stack([key // count, key % count], axis=1).astype(np.int32)
