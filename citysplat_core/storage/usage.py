"""What a step used: time, CPU and the peak of its memory."""

import os
import threading
import time
from types import TracebackType
from typing import Self

import psutil


def cpu_seconds() -> float:
    """Give the CPU time so far of this process and of its children that have ended, seconds."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


class Usage:
    """Measure a block of work in this process.

    ``peak_rss_mb`` is the highest resident size that a sample every 0.1 s saw while the block ran,
    in MiB: unlike the system's own high-water mark it does not remember earlier steps of the same
    process.

    Attributes:
        seconds: Wall time.
        cpu_seconds: CPU time of all threads of this process and of its children that have ended.
        peak_rss_mb: Peak resident memory, MiB.
    """

    def __init__(self) -> None:
        """Start nothing yet."""
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.peak_rss_mb = 0.0
        self._process = psutil.Process()
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        """Start the clocks."""
        self._started = time.monotonic()
        self._cpu_started = cpu_seconds()
        self._sampler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the clocks."""
        self._done.set()
        self._sampler.join()
        self.seconds = time.monotonic() - self._started
        self.cpu_seconds = cpu_seconds() - self._cpu_started

    def _sample(self) -> None:
        while True:
            rss_mb = self._process.memory_info().rss / 2**20
            self.peak_rss_mb = max(self.peak_rss_mb, rss_mb)
            if self._done.wait(0.1):
                return
