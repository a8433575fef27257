"""Limits of a mapper run, and what it says while it runs."""

import time
from dataclasses import dataclass, field
from typing import Final

import psutil
import pycolmap

BEAT_S: Final = 2.0
"""Between two looks at the limits or at a model's numbers, seconds."""


@dataclass
class Watch:
    """Hold one mapper run to its limits; a run taken up after a kill has the time that is left.

    Attributes:
        max_runtime_s: Longest wall time, seconds.
        max_memory_mb: Most resident memory of the process that maps, MiB; 0: no limit.
        stopped: Why the run has to stop; empty while it may go on.
    """

    max_runtime_s: float
    max_memory_mb: int = 0
    stopped: str = ""
    _before_s: float = 0.0
    _started: float = field(default_factory=time.monotonic)
    _looked: float = -BEAT_S
    _text: str = ""
    _told: float = -BEAT_S

    @property
    def spent_s(self) -> float:
        """Wall time of this run and of what was kept of earlier ones, seconds."""
        return self._before_s + time.monotonic() - self._started

    @property
    def left_s(self) -> float:
        """Wall time until ``max_runtime_s``, seconds; 0 if it is over."""
        return max(0.0, self.max_runtime_s - self.spent_s)

    def go_on_after(self, spent_s: float) -> None:
        """Count the time that an earlier run took for what this one takes up, seconds."""
        self._before_s = spent_s

    def must_stop(self, pid: int | None = None) -> bool:
        """Say whether a limit is reached; the memory is looked at every ``BEAT_S`` at most.

        Args:
            pid: The process that maps; None: this one.
        """
        now = time.monotonic()
        if not self.stopped and self.spent_s > self.max_runtime_s:
            self.stopped = f"stopped at max_runtime_s = {self.max_runtime_s:g}"
        if not self.stopped and self.max_memory_mb and now - self._looked >= BEAT_S:
            self._looked = now
            used_mb = _memory_mb(pid)
            if used_mb > self.max_memory_mb:
                self.stopped = (
                    f"stopped at {used_mb:.0f} MiB, more than max_memory_mb = {self.max_memory_mb}"
                )
        return bool(self.stopped)

    def describe(self, model: pycolmap.Reconstruction) -> str:
        """Tell a model's points and mean reprojection error, at most ``BEAT_S`` old."""
        now = time.monotonic()
        if now - self._told >= BEAT_S:
            self._told = now
            error_px = model.compute_mean_reprojection_error()
            self._text = f", {model.num_points3D()} points, {error_px:.2f} px"
        return self._text


def _memory_mb(pid: int | None) -> float:
    try:
        return float(psutil.Process(pid).memory_info().rss / 2**20)
    except psutil.NoSuchProcess:
        return 0.0
