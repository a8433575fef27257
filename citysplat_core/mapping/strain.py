"""How much GPS minds that two parts of a model are one.

Look-alike houses glue streets together that lie a house or a street apart. Each part keeps its own
shape, and one placement of both halves the distance, so that no photo stands far from GPS. But two
placements, one a part, fit much better than one: more than noise and biases of GPS explain.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CORRELATED = 4
"""So many successive GPS positions share their error, as in georegistration."""
_LOST_NUMBERS = 4
"""One similarity in the plane has so many numbers less than two."""
_LEAST = 3
_ROUNDS = 8
_REACH = 4.0
_SPREAD_M = 1.0
_QUIET = 0.5


def strain(source: Floats, gps: Floats, is_second: NDArray[np.bool_], *, noise_m: float,
           shared_m: float) -> float:  # fmt: skip
    """Compare one placement of two parts with two placements.

    Args:
        source: Level places of the cameras in the model, any unit, shape (N, 2).
        gps: Their positions, metres, shape (N, 2).
        is_second: Which of them belong to the second part, shape (N,).
        noise_m: Expected error of a position along an axis, metres. What the parts alone leave
            counts instead, unless that is less than half of it.
        shared_m: The error that the positions of one drive share, along an axis, metres.

    Returns:
        The squared distances from GPS that one placement adds, over what is to be expected of
        parts that belong together: about 1 for these. 0 where a part has fewer than three photos
        with a position or says nothing of its heading.
    """
    n_second = int(is_second.sum())
    n_first = len(source) - n_second
    if min(n_first, n_second) < _LEAST:
        return 0.0
    cap_m = _REACH * (noise_m + shared_m)
    parts = [_misfit(source[rows], gps[rows], cap_m) for rows in (~is_second, is_second)]
    together = _misfit(source, gps, cap_m)
    lever = n_first * n_second / (n_first + n_second)
    variance = max((_QUIET * noise_m) ** 2, sum(parts) / (2 * len(source)))
    expected = _LOST_NUMBERS * _CORRELATED * variance + 4 * lever * shared_m**2
    return max(0.0, together - sum(parts)) / expected


def _misfit(source: Floats, gps: Floats, cap_m: float) -> float:
    """Sum the squared distances after the best similarity, each cut at ``cap_m``."""
    src, tgt = source @ np.array([1, 1j]), gps @ np.array([1, 1j])
    weights = np.ones(len(src))
    left = np.zeros(len(src))
    for _ in range(_ROUNDS):
        w = weights / weights.sum()
        a, b = src - w @ src, tgt - w @ tgt
        power = float(w @ np.abs(a) ** 2)
        turn = (w @ (np.conj(a) * b)) / max(power, 1e-18)
        left = np.abs(turn * a - b)
        scale_m = max(1.5 * float(np.median(left)), _SPREAD_M)
        weights = 1 / (1 + (left / scale_m) ** 2)
    return float((np.minimum(left, cap_m) ** 2).sum())
