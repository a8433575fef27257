"""How fast a step goes and how long it still takes, in words."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

_WINDOW_S = 30.0
_FIRST_S = 2.0

Clock = Callable[[], float]


@dataclass
class Rate:
    """Watches one step's progress.

    Attributes:
        clock: Seconds; tests pass their own.
    """

    clock: Clock = time.monotonic
    _unit: str = ""
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def told(self, done: int, total: int, note: str) -> str:
        """Return the note with rate and time left, from the last half minute.

        Args:
            done: Units done.
            total: Units in all; 0 when unknown.
            note: What is counted; another first word begins a new measurement.

        Returns:
            ``photos, 41/s, 3 min left``; the note alone in the first two seconds and at the end.
        """
        unit = note.partition(" ")[0].rstrip(":")
        now = self.clock()
        if unit != self._unit or (self._seen and done < self._seen[-1][1]):
            self._unit = unit
            self._seen.clear()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > _WINDOW_S:
            self._seen.popleft()
        since, before = self._seen[0]
        if now - since < _FIRST_S or done <= before or not before <= done < total:
            return note
        rate = (done - before) / (now - since)
        return f"{note}, {_number(rate)}/s, {_duration((total - done) / rate)} left"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
