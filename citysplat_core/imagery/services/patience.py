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
    max_told_pause_s: float = 900.0
    """Longest pause that a metadata host may ask for with Retry-After and get, seconds; a longer
    one ends the run, which can be run again."""
    max_pauses: int = 20
    """Pauses in a row until the limit counts as a block."""
    block_silence_s: float = 86_400.0
    """Silence kept towards a tile host that blocks this machine, seconds."""
    url_margin_s: float = 300.0
    """A photo address that expires sooner than this is asked for anew, seconds."""
    failed_wait_s: float = 600.0
    """An image whose description failed in two runs is left alone for this long, four times as
    long after each further failure, seconds; the run after the first failure asks at once."""
    failed_cap_s: float = 86_400.0
    """Longest such time, seconds."""

    def rest_s(self, tries: int) -> float:
        """Return how long an image rests after it failed in ``tries`` runs, seconds."""
        if tries < 2:
            return 0.0
        return float(min(self.failed_cap_s, self.failed_wait_s * 4.0 ** (tries - 2)))

    def wait_s(self, fault: int) -> float:
        """Return the wait after the n-th fault (from 0), with jitter, seconds."""
        jitter = random.uniform(0.5, 1.5)  # noqa: S311  # spreads load, guards nothing
        return float(min(self.cap_s, self.base_s * 2**fault) * jitter)
