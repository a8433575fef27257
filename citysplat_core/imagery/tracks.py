"""Sequences as tracks: photos in the order in which they were taken, in metres and seconds."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Tracks:
    """N photos of many sequences, sorted by sequence and time.

    Attributes:
        sequence: Number of the sequence, rising, shape (N,).
        east_north_m: Positions about the middle of the catalog, metres, shape (N, 2).
        seconds: Times, shape (N,); NaN where unknown.
    """

    sequence: Ints
    east_north_m: Floats
    seconds: Floats

    @cached_property
    def first(self) -> Ints:
        """Row of the first photo of each photo's sequence, shape (N,)."""
        return np.searchsorted(self.sequence, self.sequence, side="left")

    @cached_property
    def last(self) -> Ints:
        """Row of the last photo of each photo's sequence, shape (N,)."""
        return np.searchsorted(self.sequence, self.sequence, side="right") - 1

    def around(self, steps: int) -> tuple[Ints, Ints]:
        """Return the rows so many steps before and after each photo, inside its sequence."""
        rows = np.arange(len(self.sequence))
        return np.maximum(rows - steps, self.first), np.minimum(rows + steps, self.last)

    def distance_m(self, a: Ints, b: Ints) -> Floats:
        """Return the distance between photos ``a`` and ``b``, metres."""
        offset = self.east_north_m[b] - self.east_north_m[a]
        return np.hypot(offset[:, 0], offset[:, 1])

    def speed_m_s(self, steps: int) -> Floats:
        """Return the net speed from so many photos before to so many after; NaN if unknown."""
        before, after = self.around(steps)
        with np.errstate(invalid="ignore", divide="ignore"):
            elapsed = self.seconds[after] - self.seconds[before]
            return np.where(elapsed > 0, self.distance_m(before, after) / elapsed, np.nan)

    def subset(self, keep: Bools) -> "Tracks":
        """Return the tracks of some of the photos."""
        return Tracks(self.sequence[keep], self.east_north_m[keep], self.seconds[keep])


def medians_by_sequence(sequence: Ints, values: Floats) -> tuple[Ints, Floats, Ints]:
    """Return the median of finite values of each sequence that has any.

    Args:
        sequence: Number of the sequence, shape (N,).
        values: Shape (N,); NaN does not count.

    Returns:
        The sequences (S,), rising, their medians (S,) and how many values each has (S,).
    """
    known = np.isfinite(values)
    order = np.lexsort((values[known], sequence[known]))
    of, sorted_values = sequence[known][order], values[known][order]
    numbers, starts, counts = np.unique(of, return_index=True, return_counts=True)
    low, high = starts + (counts - 1) // 2, starts + counts // 2
    medians = (sorted_values[low] + sorted_values[high]) / 2 if len(of) else np.empty(0)
    return numbers, medians, counts
