"""Photos of cameras that stand: a parked car, a tripod, a stop at a light.

They show one thing from one place. Compared with each other they give no baseline, and compared
with the rest of the city each of them asks again for what the others have asked for.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.imagery.motion import still_runs
from citysplat_core.imagery.tracks import Tracks
from citysplat_core.matching.pairs import NO_SEQUENCE

NO_STAY: Final = -1
"""Number of the stay of a photo whose camera moves."""

_TURNED_DEG: Final = 30.0
"""A camera that has turned by more shows another thing."""
_UNKNOWN_TIME: Final = np.iinfo(np.int64).min


def stays_of(
    sequence: NDArray[np.int64],
    captured_at: NDArray[np.int64],
    east_north_m: NDArray[np.float64],
    heading_deg: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Number the stays of cameras: stretches of a sequence in one place that look one way.

    A camera stands below 0.3 m/s (net, over two photos each way) within 3 m, as for the rules of
    photos; a stay ends too where the compass has turned by more than 30 degrees. Photos without a
    sequence or a time are in none.

    Args:
        sequence: Sequence numbers, ``NO_SEQUENCE`` for none, shape (N,).
        captured_at: Milliseconds, the smallest integer if unknown, shape (N,).
        east_north_m: Positions, metres, shape (N, 2).
        heading_deg: Compass, degrees, NaN if unknown, shape (N,).

    Returns:
        The number of each photo's stay, ``NO_STAY`` for none, shape (N,).
    """
    stay = np.full(len(sequence), NO_STAY, dtype=np.int64)
    known = (sequence != NO_SEQUENCE) & np.isfinite(east_north_m).all(axis=1)
    order = np.lexsort((np.arange(len(sequence)), captured_at, sequence))
    rows = order[known[order]]
    seconds = np.where(captured_at == _UNKNOWN_TIME, np.nan, captured_at / 1000.0)
    run, rank, _ = still_runs(Tracks(sequence[rows], east_north_m[rows], seconds[rows]))
    number, looked = NO_STAY, np.nan
    for place in np.flatnonzero(run >= 0).tolist():
        looks = heading_deg[rows[place]]
        turned = abs((looks - looked + 180.0) % 360.0 - 180.0) > _TURNED_DEG
        if rank[place] == 0 or turned:
            number, looked = number + 1, looks
        looked = looks if np.isnan(looked) else looked
        stay[rows[place]] = number
    return stay


def idle_photos(stay: NDArray[np.int64], captured_at: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which photos the first, the middle and the last of their stay stand for, shape (N,)."""
    order = np.lexsort((np.arange(len(stay)), captured_at, stay))
    ordered = stay[order]
    first = np.searchsorted(ordered, ordered, side="left")
    last = np.searchsorted(ordered, ordered, side="right") - 1
    place = np.arange(len(stay))
    idle = (place != first) & (place != last) & (place != (first + last) // 2)
    found = np.zeros(len(stay), dtype=bool)
    found[order] = idle & (ordered != NO_STAY)
    return found
