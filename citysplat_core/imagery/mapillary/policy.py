"""How often and how patiently the service is asked again."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Retries and pauses; the defaults suit the real service."""

    tries: int = 6
    """Requests until a transient fault counts as a failure."""
    base_s: float = 0.2
    """Wait after the first fault; it doubles with each further one, seconds."""
    cap_s: float = 30.0
    """Longest wait between two tries, seconds."""
    limit_pause_s: float = 30.0
    """Pause after "limit reached" without Retry-After, seconds."""
    max_pause_s: float = 120.0
    """Longest pause, whatever Retry-After says, seconds."""
    max_pauses: int = 20
    """Pauses in a row until the limit counts as a block."""
    block_silence_s: float = 86_400.0
    """Silence kept towards a tile host that blocks this machine, seconds."""
    url_margin_s: float = 300.0
    """A photo address that expires sooner than this is asked for anew, seconds."""

    def wait_s(self, fault: int) -> float:
        """Return the wait after the n-th fault (from 0), with jitter, seconds."""
        jitter = random.uniform(0.5, 1.5)  # noqa: S311  # spreads load, guards nothing
        return float(min(self.cap_s, self.base_s * 2**fault) * jitter)
