"""The server's clock and its request windows: one time for expiry, limits and blocks."""

import time
from collections import defaultdict, deque


class ServerClock:
    """Wall time plus an offset that only grows, so that a test never sleeps for a window."""

    def __init__(self) -> None:
        """Start at the wall time."""
        self._offset_s = 0.0

    def now(self) -> float:
        """Return the server's time, seconds since 1970."""
        return time.time() + self._offset_s

    def advance(self, seconds: float) -> float:
        """Move the clock forward and return the new time.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(f"the clock only moves forward, not by {seconds} s")
        self._offset_s += seconds
        return self.now()


class FixedWindows:
    """Counts of calls in fixed windows, one counter a name."""

    def __init__(self) -> None:
        """Start with empty counters."""
        self._counts: dict[tuple[str, int], int] = defaultdict(int)

    def count(self, name: str, now: float, window_s: float) -> int:
        """Count one call and return how many the window has seen, this one included."""
        key = (name, int(now // window_s))
        self._counts[key] += 1
        return self._counts[key]

    def clear(self) -> None:
        """Forget all counts."""
        self._counts.clear()


class AddressBlocks:
    """Which client addresses are blocked, and the tile requests that led there."""

    def __init__(self) -> None:
        """Start with nobody blocked."""
        self._requests: dict[str, deque[float]] = defaultdict(deque)
        self._last_refused: dict[str, float] = {}

    def is_blocked(self, address: str, now: float, silence_s: float) -> bool:
        """Say whether the address is blocked; a refused request restarts its silence."""
        last = self._last_refused.get(address)
        if last is None:
            return False
        if now - last >= silence_s:
            del self._last_refused[address]
            self._requests[address].clear()
            return False
        self._last_refused[address] = now
        return True

    def count(
        self, address: str, now: float, *, per_min: int, rolling: int, window_s: float
    ) -> bool:
        """Count a tile request; return True if it made the address blocked."""
        seen = self._requests[address]
        seen.append(now)
        while seen and seen[0] < now - max(window_s, 60.0):
            seen.popleft()
        in_minute = sum(1 for at in seen if at > now - 60.0) if per_min else 0
        if (per_min and in_minute > per_min) or (rolling and len(seen) > rolling):
            self._last_refused[address] = now
            return True
        return False

    def clear(self) -> None:
        """Lift every block and forget the requests."""
        self._requests.clear()
        self._last_refused.clear()
