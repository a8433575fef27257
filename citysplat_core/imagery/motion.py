"""How photos move along their sequences: jumps of the position, and cameras that stand still."""

import numpy as np

from citysplat_core.imagery.tracks import Bools, Floats, Ints, Tracks, medians_by_sequence

_SLACK_M = 20.0
"""A position may always be off by this much against the one before, metres."""
_MIN_LIMIT_M_S, _MAX_LIMIT_M_S = 15.0, 70.0
_TIMES_USUAL = 4.0
_SHORT_END = 3
_STILL_M_S = 0.3
_STILL_M = 3.0
_SPEED_STEPS = 2


def jump_m(tracks: Tracks) -> Floats:
    """Return how far each position lies off its track, where it got there impossibly fast.

    A track is cut where a step is longer than 20 m plus what the sequence can drive in that time
    (4 times its usual speed, 15 to 70 m/s). A piece whose neighbours agree with each other without
    it is a GPS glitch, and so is a piece of up to 3 photos at an end of a long track.

    Args:
        tracks: Sorted tracks with finite positions.

    Returns:
        Metres to the straight way between the neighbouring pieces, 0 for photos in place, (N,).
    """
    count = len(tracks.sequence)
    off = np.zeros(count)
    if count == 0:
        return off
    pieces = _Pieces(tracks, _limits(tracks))
    off_by_piece = pieces.inner_glitches() | pieces.end_glitches()
    for piece in np.flatnonzero(off_by_piece).tolist():
        rows = np.arange(pieces.starts[piece], pieces.ends[piece] + 1)
        off[rows] = np.hypot(*(tracks.east_north_m[rows] - pieces.expected(piece, rows)).T)
    return off


def _limits(tracks: Tracks) -> Floats:
    """Return the highest believable speed of each photo's sequence, m/s."""
    numbers, medians, _ = medians_by_sequence(tracks.sequence, tracks.speed_m_s(_SPEED_STEPS))
    limit = np.full(len(tracks.sequence), _MAX_LIMIT_M_S)
    at = np.searchsorted(numbers, tracks.sequence)
    known = np.isin(tracks.sequence, numbers)
    limit[known] = np.clip(_TIMES_USUAL * medians[at[known]], _MIN_LIMIT_M_S, _MAX_LIMIT_M_S)
    return limit


class _Pieces:
    """Tracks cut at impossible steps."""

    def __init__(self, tracks: Tracks, limits_m_s: Floats) -> None:
        self._tracks, self._limits = tracks, limits_m_s
        rows = np.arange(1, len(tracks.sequence))
        cut = ~self._possible(rows - 1, rows) | (np.diff(tracks.sequence) != 0)
        self.starts: Ints = np.concatenate([[0], rows[cut]])
        self.ends: Ints = np.concatenate([rows[cut] - 1, [len(tracks.sequence) - 1]])
        of = tracks.sequence[self.starts]
        self._size = self.ends - self.starts + 1
        self._joins_next: Bools = np.concatenate([of[1:] == of[:-1], [False]])
        self._joins_last: Bools = np.concatenate([[False], of[1:] == of[:-1]])

    def _possible(self, a: Ints, b: Ints) -> Bools:
        seconds = self._tracks.seconds[b] - self._tracks.seconds[a]
        reach = _SLACK_M + self._limits[a] * np.maximum(seconds, 0.0)
        return ~(self._tracks.distance_m(a, b) > reach)  # an unknown time makes nothing impossible

    def inner_glitches(self) -> Bools:
        """Say which pieces lie between two that agree without them."""
        found = np.zeros(len(self.starts), bool)
        inner = np.flatnonzero(self._joins_last & self._joins_next)
        smaller = self._size[inner] <= np.minimum(self._size[inner - 1], self._size[inner + 1])
        bridged = self._possible(self.ends[inner - 1], self.starts[inner + 1])
        found[inner] = smaller & bridged
        return found

    def end_glitches(self) -> Bools:
        """Say which pieces are a few photos at an end, next to many others."""
        short = self._size <= _SHORT_END
        next_size = np.concatenate([self._size[1:], [0]])
        last_size = np.concatenate([[0], self._size[:-1]])
        begins = ~self._joins_last & self._joins_next & (next_size >= 3 * self._size)
        ends = self._joins_last & ~self._joins_next & (last_size >= 3 * self._size)
        return np.asarray(short & (begins | ends))

    def expected(self, piece: int, rows: Ints) -> Floats:
        """Return where the photos of a piece would lie on the way between its neighbours."""
        tracks = self._tracks
        if not self._joins_last[piece]:
            return tracks.east_north_m[[self.starts[piece + 1]]]
        before = int(self.ends[piece - 1])
        if not self._joins_next[piece]:
            return tracks.east_north_m[[before]]
        after = int(self.starts[piece + 1])
        elapsed = tracks.seconds[after] - tracks.seconds[before]
        share = np.full(len(rows), 0.5)
        if elapsed > 0:
            share = np.clip((tracks.seconds[rows] - tracks.seconds[before]) / elapsed, 0.0, 1.0)
        way = tracks.east_north_m[after] - tracks.east_north_m[before]
        return np.asarray(tracks.east_north_m[before] + share[:, None] * way)


def still_runs(tracks: Tracks) -> tuple[Ints, Ints, Ints]:
    """Find the photos of cameras that stand: parked cars, tripods, stops.

    A run is a stretch of a sequence below 0.3 m/s (net, over two photos each way) that stays within
    3 m of its first photo. Photos without a time are in no run.

    Args:
        tracks: Sorted tracks with finite positions.

    Returns:
        For each photo the place in its sequence where its run begins (-1: no run), its place in the
        run and the run's length, shape (N,) each.
    """
    count = len(tracks.sequence)
    run, rank, length = np.full(count, -1), np.zeros(count, np.int64), np.zeros(count, np.int64)
    start, last = -1, -2
    for row in np.flatnonzero(tracks.speed_m_s(_SPEED_STEPS) < _STILL_M_S).tolist():
        joins = (
            row == last + 1
            and tracks.sequence[row] == tracks.sequence[start]
            and _apart_m(tracks, start, row) <= _STILL_M
        )
        if not joins:
            start = row
        last, run[row], rank[row] = row, start, row - start
    member = run >= 0
    length[member] = np.bincount(run[member], minlength=count)[run[member]]
    run[member] -= tracks.first[run[member]]
    return run, rank, length


def _apart_m(tracks: Tracks, a: int, b: int) -> float:
    east, north = (tracks.east_north_m[b] - tracks.east_north_m[a]).tolist()
    return float(np.hypot(east, north))
