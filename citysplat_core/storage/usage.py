"""What a step used: time, CPU and the peak of its memory."""

import itertools
import os
import threading
import time
from types import TracebackType
from typing import Final, Self

import psutil

_SAMPLE_EVERY_S: Final = 0.1
_SAMPLES_BETWEEN_LOOKS: Final = 5
"""Finding the processes below this one reads all those of the machine: not for every sample."""


def cpu_seconds() -> float:
    """Give the CPU time so far of this process and of its children that have ended, seconds."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


class Usage:
    """Measure a block of work in this process and in those that it starts.

    ``peak_rss_mb`` is the highest resident size that a sample every 0.1 s saw while the block ran,
    in MiB: unlike the system's own high-water mark it does not remember earlier steps of the same
    process. The processes that run below this one count at the same moment; what they share with it
    counts twice, and one that lives for less than half a second may be missed.

    Attributes:
        seconds: Wall time.
        cpu_seconds: CPU time of all threads of this process and of its children that have ended.
        peak_rss_mb: Peak resident memory of this process and those below it together, MiB.
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
        below: list[psutil.Process] = []
        for number in itertools.count():
            if number % _SAMPLES_BETWEEN_LOOKS == 0:
                below = self._process.children(recursive=True)
            rss_mb = sum(_rss_mb(process) for process in (self._process, *below))
            self.peak_rss_mb = max(self.peak_rss_mb, rss_mb)
            if self._done.wait(_SAMPLE_EVERY_S):
                return


def _rss_mb(process: psutil.Process) -> float:
    """Give the resident size of a process, MiB; 0 if it has ended."""
    try:
        return float(process.memory_info().rss / 2**20)
    except psutil.NoSuchProcess:
        return 0.0
