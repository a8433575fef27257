"""Staying below the service's limits inside one process: pace, retries and pauses."""

import asyncio
import time
from collections.abc import Callable

from citysplat_core.imagery.services.http import Answer
from citysplat_core.imagery.services.patience import Patience

Clock = Callable[[], float]
"""Gives the time in seconds since 1970."""


class Pace:
    """Evenly spaced requests inside one process, with pauses for all at once."""

    def __init__(self, per_min: int) -> None:
        """Start without delay."""
        self._spacing_s = 60.0 / per_min
        self._next = 0.0

    async def wait(self) -> None:
        """Wait for the next free moment."""
        now = time.monotonic()
        at = max(now, self._next)
        self._next = at + self._spacing_s
        if at > now:
            await asyncio.sleep(at - now)

    def pause(self, seconds: float) -> None:
        """Send nothing for a while."""
        self._next = max(self._next, time.monotonic() + seconds)


class Retry:
    """Counts the faults and pauses of one request.

    Args:
        patience: How many of each.
        tries: Requests until a fault is final; None for the patience's own number.
    """

    def __init__(self, patience: Patience, *, tries: int | None = None) -> None:
        """Start without a fault."""
        self._patience = patience
        self._tries = patience.tries if tries is None else tries
        self._faults = 0
        self._pauses = 0

    async def after_fault(self) -> bool:
        """Wait and return True, or return False if the tries are used up."""
        self._faults += 1
        if self._faults >= self._tries:
            return False
        await asyncio.sleep(self._patience.wait_s(self._faults - 1))
        return True

    def pause_s(self, answer: Answer | None) -> float | None:
        """Return how long to pause after "limit reached", or None if it has lasted too long."""
        self._pauses += 1
        if self._pauses > self._patience.max_pauses:
            return None
        told = answer.retry_after_s() if answer is not None else None
        wanted = self._patience.limit_pause_s if told is None else told
        return min(wanted, self._patience.max_pause_s)
