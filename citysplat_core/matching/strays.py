"""Photos that a solution puts elsewhere than their sequence goes: most saw a look-alike house.

One photo whose matches are all false is held by them as firmly as others by true ones, and nothing
in its rays tells. But its GPS does, measured by how well GPS fits the photos before and after it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_NEAR: Final = 4
"""Photos before and after that a photo is compared with."""
_LEAST_NEAR: Final = 3
_MOST_DEVIATIONS: Final = 4.0
_SLACK_M: Final = 2.0


def find_strays(
    moved_m: NDArray[np.float64], known: NDArray[np.bool_], along: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say which photos are moved against GPS quite otherwise than their neighbours in sequence.

    Args:
        moved_m: East and north of the solution less those of GPS, shape (N, 2).
        known: Photos that the solution places, shape (N,).
        along: Rows (i, j) of photos that follow each other in a sequence, in their order, shape
            (S, 2).
    """
    stray = np.zeros(len(moved_m), dtype=bool)
    for sequence in _sequences(along):
        rows = sequence[known[sequence]]
        if len(rows) <= _LEAST_NEAR:
            continue
        moved = moved_m[rows]
        usual = np.array([_around(moved, place) for place in range(len(rows))])
        gap = np.hypot(*(moved - usual).T)
        stray[rows] = gap > _SLACK_M + _MOST_DEVIATIONS * np.median(gap)
    return stray


def _sequences(along: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Chain the rows that follow each other."""
    breaks = np.flatnonzero(along[1:, 0] != along[:-1, 1]) + 1
    parts = [part for part in np.split(along, breaks) if len(part)]
    return [np.append(part[:, 0], part[-1, 1]) for part in parts]


def _around(moved: NDArray[np.float64], place: int) -> NDArray[np.float64]:
    """Return the median of the photos around one."""
    before, after = moved[max(0, place - _NEAR) : place], moved[place + 1 : place + 1 + _NEAR]
    return np.asarray(np.median(np.concatenate([before, after]), axis=0))
