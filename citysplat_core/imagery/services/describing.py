"""Describing all images of a city: what is missing is asked for, what is known is not."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from citysplat_core.errors import DiscoveryError
from citysplat_core.imagery.services.lookup import BatchAnswer, BatchSize, ImageLookup
from citysplat_core.imagery.services.metadata_store import Freshness, MetadataStore
from citysplat_core.imagery.services.retries import Clock
from citysplat_core.imagery.services.tasks import first_error_stops
from citysplat_core.storage import Progress

_LOG = logging.getLogger(__name__)
_MIN_SUSPICION = 100
_FEW = 20
_OUTAGE_SHARE = 0.3
_PATIENT_S = 5.0


@contextmanager
def one_run_at_a_time(ledger: Path, progress: Progress, n_images: int) -> Iterator[None]:
    """Wait until no other process fills the same ledger: what it finds need not be asked twice.

    The lock is the system's and ends with the process, however that ends.
    """
    ledger.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(ledger.with_suffix(".lock"))
    while True:
        try:
            lock.acquire(timeout=_PATIENT_S)
            break
        except Timeout:
            progress(0, n_images, "metadata: another run is asking for it; waiting")
    try:
        yield
    finally:
        lock.release()


@dataclass(slots=True, kw_only=True)
class Describer:
    """Fills the metadata ledger.

    Attributes:
        lookup: Who is asked.
        fields: What is asked for, in the service's own words.
        store: Where descriptions, tombstones and failures are kept.
        clock: The time.
        at_once: Batches in flight.
        rest_s: How long an image rests that failed in so many runs, seconds.
        progress: Told how many images are described.
        batch: How many ids to ask for at a time.
    """

    lookup: ImageLookup
    fields: str
    store: MetadataStore
    clock: Clock
    at_once: int
    rest_s: Callable[[int], float]
    progress: Progress
    batch: BatchSize = field(default_factory=BatchSize)
    _missing: list[str] = field(default_factory=list)
    _taken: int = 0
    _asked: int = 0
    _absent: int = 0
    _failed: int = 0
    _example: str = "absent from the answers"

    async def describe(self, image_ids: Sequence[str], fresh: Freshness) -> None:
        """Ask for every image that the ledger has no good answer for.

        Images that the service does not know become tombstones only at the end, and only if they
        are few: when much of a run is absent or fails, the service is down and not the images
        deleted.

        Args:
            image_ids: Sorted, unique ids.
            fresh: Which entries count as answers.

        Raises:
            DiscoveryError: Too much is absent or fails; what was answered is kept.
        """
        left = self.store.open_of(image_ids, fresh)
        self._missing, self._asked, self._absent = left.missing, left.n_asked, left.n_absent
        n_missing, n_known = len(left.missing), len(image_ids) - len(left.missing)
        _LOG.info("metadata: %d known, %d to ask for", n_known, n_missing)
        self.progress(n_known, len(image_ids), "metadata")
        started = time.monotonic()

        async def work() -> None:
            while ids := self._take():
                self._keep(await self.lookup.images(ids, self.fields))
                self._asked += len(ids)
                self._refuse_outage()
                done = self._asked - left.n_asked
                note = _pace_note(done, n_missing, time.monotonic() - started)
                self.progress(n_known + done, len(image_ids), note)

        await first_error_stops(work() for _ in range(self.at_once))
        self._refuse_outage(at_end=n_missing >= _FEW)
        self.store.believe_absent()

    def _take(self) -> list[str]:
        start, self._taken = self._taken, self._taken + self.batch.now
        return self._missing[start : self._taken]

    def _keep(self, answer: BatchAnswer) -> None:
        now = self.clock()
        self.store.save(answer.entities, at=now, bodies=answer.bodies)
        self.store.save_absent(sorted(answer.absent), at=now)
        if answer.failed:
            tries = self.store.tries(sorted(answer.failed))
            next_try = {i: now + self.rest_s(n + 1) for i, n in tries.items()}
            self.store.save_failed(answer.failed, at=now, next_try=next_try)
            self._example = next(iter(answer.failed.values()))
        self._absent += len(answer.absent)
        self._failed += len(answer.failed)

    def _refuse_outage(self, *, at_end: bool = False) -> None:
        enough = self._asked >= _MIN_SUSPICION or at_end
        if not enough or self._absent + self._failed <= _OUTAGE_SHARE * self._asked:
            return
        self.store.doubt()
        raise DiscoveryError(
            f"{self._absent} of {self._asked} images are absent from the service's answers and "
            f"{self._failed} fail ({self._example})",
            expected=f"at most {_OUTAGE_SHARE:.0%}, unless the service is down",
            fix="Run again later; what was answered is kept, and no image is marked as deleted.",
        )


def _pace_note(done: int, total: int, seconds: float) -> str:
    """Say how fast it goes and how long the rest takes."""
    if seconds < 1.0 or not done:
        return "metadata"
    rate = done / seconds
    return f"metadata: {rate:,.0f} images/s, {(total - done) / rate / 60.0:.1f} min left"
