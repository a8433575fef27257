"""Which photos may see the same thing: pairs proposed from positions, headings and sequences.

All functions are pure and work on row numbers. A pair is (i, j) with i < j.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from citysplat_core.errors import MatchingError

NO_SEQUENCE: Final = -1
"""Sequence number of a photo that belongs to no sequence."""

NO_PANORAMA: Final = -1
"""Panorama number of a photo that was cut out of none."""

_CROWD: Final = 8
"""Candidates looked at for every neighbour that is wanted, so that refused ones are replaced."""


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
    return _sorted_pairs(np.concatenate(found) if found else np.zeros((0, 2), dtype=np.int64))


def propose_spatial_pairs(
    east_north_m: NDArray[np.float64],
    heading_deg: NDArray[np.float64],
    sequence: NDArray[np.int64],
    panorama: NDArray[np.int64] | None = None,
    *,
    radius_m: float = 40.0,
    max_neighbours: int = 20,
    max_turn_deg: float = 100.0,
) -> NDArray[np.int32]:
    """Propose the photos that stand close and do not look away from each other.

    Every photo asks for its nearest neighbours: half of them the nearest, the others spread over
    the radius, so that a video's hundreds of frames a metre do not hide the wide baselines.

    Args:
        east_north_m: Positions in the city frame, metres, shape (N, 2).
        heading_deg: Headings clockwise from north, degrees, shape (N,); NaN where unknown or not
            trusted, and then the heading is not asked.
        sequence: Sequence number of every photo, shape (N,); the heading is not asked inside a
            sequence. ``NO_SEQUENCE`` for none.
        panorama: Which panorama a view was cut out of, shape (N,), ``NO_PANORAMA`` for an ordinary
            photo; None if there are no views. Two views of one panorama stand at one place: they
            are never a pair.
        radius_m: Largest distance, metres.
        max_neighbours: Most neighbours a photo asks for (it can be asked for by more).
        max_turn_deg: Largest difference of two headings, degrees.

    Returns:
        Pairs (i, j) with i < j, unique, sorted, shape (P, 2). Memory grows with N times
        ``max_neighbours``, not with N squared.

    Raises:
        MatchingError: A position is not finite.
    """
    _refuse_bad_positions(east_north_m)
    near = _neighbours(east_north_m, east_north_m, radius_m, max_neighbours * _CROWD + 1)
    near = near[near[:, 0] != near[:, 1]]
    near = near[~of_one_panorama(near, panorama)]
    kept = _not_turned(near, heading_deg, sequence, max_turn_deg)
    return _sorted_pairs(_thinned(near[kept], max_neighbours))


def propose_fringe_pairs(
    east_north_m: NDArray[np.float64],
    heading_deg: NDArray[np.float64],
    sequence: NDArray[np.int64],
    side: NDArray[np.int64],
    panorama: NDArray[np.int64] | None = None,
    *,
    radius_m: float = 40.0,
    max_neighbours: int = 20,
    max_turn_deg: float = 100.0,
) -> NDArray[np.int32]:
    """Propose pairs across a border: each photo of either side asks for its neighbours beyond.

    Args:
        east_north_m: Positions of both sides in the city frame, metres, shape (N, 2).
        heading_deg: Headings, degrees, shape (N,); NaN is not asked.
        sequence: Sequence numbers, shape (N,); the heading is not asked inside a sequence.
        side: 0 or 1 for every photo, shape (N,).
        panorama: As in `propose_spatial_pairs`.
        radius_m: Largest distance, metres.
        max_neighbours: Most neighbours that a photo asks for.
        max_turn_deg: Largest difference of two headings, degrees.

    Returns:
        Pairs (i, j) with i < j of two sides, unique, sorted, shape (P, 2).

    Raises:
        MatchingError: A position is not finite.
    """
    _refuse_bad_positions(east_north_m)
    sides = [np.flatnonzero(side == 0), np.flatnonzero(side == 1)]
    found = []
    for own, other in (sides, sides[::-1]):
        local = _neighbours(
            east_north_m[own], east_north_m[other], radius_m, max_neighbours * _CROWD
        )
        near = np.stack([own[local[:, 0]], other[local[:, 1]]], axis=1)
        near = near[~of_one_panorama(near, panorama)]
        kept = _not_turned(near, heading_deg, sequence, max_turn_deg)
        found.append(_thinned(near[kept], max_neighbours))
    return _sorted_pairs(np.concatenate(found))


def of_one_panorama(
    pairs: NDArray[np.int64], panorama: NDArray[np.int64] | None
) -> NDArray[np.bool_]:
    """Say which pairs are two views of one panorama, shape (P,)."""
    if panorama is None:
        return np.zeros(len(pairs), dtype=bool)
    first, second = panorama[pairs[:, 0]], panorama[pairs[:, 1]]
    return np.asarray((first == second) & (first != NO_PANORAMA))


def _refuse_bad_positions(east_north_m: NDArray[np.float64]) -> None:
    bad = np.flatnonzero(~np.isfinite(east_north_m).all(axis=1))
    if bad.size:
        raise MatchingError(
            f"{bad.size} of {len(east_north_m)} positions are not finite (rows {bad[:3].tolist()})",
            expected="metres in the city frame",
            fix="Materialize box_plan again; photos without a position belong to no box.",
        )


def _neighbours(
    from_m: NDArray[np.float64], to_m: NDArray[np.float64], radius_m: float, wanted: int
) -> NDArray[np.int64]:
    """List (row, neighbour) from near to far for every row, shape (P, 2)."""
    if not len(from_m) or not len(to_m):
        return np.zeros((0, 2), dtype=np.int64)
    k = min(wanted, len(to_m))
    beyond_m = radius_m * (1.0 + 1e-9)  # the bound itself is excluded
    ranks_wanted = np.arange(1, k + 1)
    distance, index = KDTree(to_m).query(from_m, k=ranks_wanted, distance_upper_bound=beyond_m)
    rows, ranks = np.nonzero(np.asarray(distance) <= radius_m)
    return np.stack([rows, np.asarray(index)[rows, ranks]], axis=1).astype(np.int64)


def _not_turned(
    pairs: NDArray[np.int64],
    heading_deg: NDArray[np.float64],
    sequence: NDArray[np.int64],
    max_turn_deg: float,
) -> NDArray[np.bool_]:
    first, second = pairs[:, 0], pairs[:, 1]
    turn = np.abs(wrap_deg(heading_deg[first] - heading_deg[second]))
    same = (sequence[first] == sequence[second]) & (sequence[first] != NO_SEQUENCE)
    kept: NDArray[np.bool_] = same | ~(turn > max_turn_deg)  # NaN compares False: it stays
    return kept


def _thinned(pairs: NDArray[np.int64], max_neighbours: int) -> NDArray[np.int64]:
    """Keep at most some neighbours a row: the nearest half, then evenly spread ones."""
    if not len(pairs):
        return pairs
    starts = np.flatnonzero(np.r_[True, np.diff(pairs[:, 0]) != 0])
    counts = np.diff(np.r_[starts, len(pairs)])
    n_near = (max_neighbours + 1) // 2
    n_far = max_neighbours - n_near
    kept = []
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        if count <= max_neighbours:
            kept.append(np.arange(start, start + count))
        else:
            far = n_near + (np.arange(1, n_far + 1) * (count - n_near)) // max(n_far, 1) - 1
            kept.append(start + np.concatenate([np.arange(n_near), far]))
    thinned: NDArray[np.int64] = pairs[np.concatenate(kept)]
    return thinned


def _sorted_pairs(pairs: NDArray[np.int64]) -> NDArray[np.int32]:
    """Put the smaller row first, drop doubles, sort."""
    return np.unique(np.sort(pairs.reshape(-1, 2), axis=1), axis=0).astype(np.int32)
