"""Describing all images of a city: what is missing is asked for, what is known is not."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from citysplat_core.errors import DiscoveryError
from citysplat_core.imagery.mapillary.entities import FIELDS
from citysplat_core.imagery.mapillary.entity_store import EntityStore
from citysplat_core.imagery.mapillary.graph import BATCH, BatchAnswer, ImageLookup
from citysplat_core.imagery.mapillary.limits import Clock
from citysplat_core.imagery.mapillary.tasks import first_error_stops
from citysplat_core.storage import Progress

_LOG = logging.getLogger(__name__)
_MIN_SUSPICION = 100
_OUTAGE_SHARE = 0.3


@dataclass(slots=True, kw_only=True)
class Describer:
    """Fills the entity store.

    Attributes:
        graph: Who describes images.
        store: Where descriptions are kept.
        clock: The time.
        at_once: Batches in flight.
        progress: Told how many images are described.
        failed: Id to reason, for images that could not be asked.
    """

    graph: ImageLookup
    store: EntityStore
    clock: Clock
    at_once: int
    progress: Progress
    failed: dict[str, str] = field(default_factory=dict)
    _absent: set[str] = field(default_factory=set)
    _asked: int = 0

    async def describe(self, image_ids: Sequence[str], *, not_before: float) -> None:
        """Ask for every image that the store does not have.

        Images that the graph does not know become tombstones only at the end, and only if they
        are few: when much of a run is absent or fails, the service is down and not the images
        deleted.

        Args:
            image_ids: Sorted, unique ids.
            not_before: Descriptions older than this are asked for again, seconds since 1970.

        Raises:
            DiscoveryError: Too much is absent or fails; what was answered is kept.
        """
        missing = self.store.missing(image_ids, not_before=not_before)
        known = len(image_ids) - len(missing)
        _LOG.info("metadata: %d known, %d to ask for", known, len(missing))
        self.progress(known, len(image_ids), "metadata")
        gate = asyncio.Semaphore(self.at_once)

        async def one(ids: list[str]) -> None:
            async with gate:
                self._keep(await self.graph.images(ids, FIELDS))
                self._asked += len(ids)
                self._refuse_outage(len(missing))
                self.progress(known + self._asked, len(image_ids), "metadata")

        batches = [missing[i : i + BATCH] for i in range(0, len(missing), BATCH)]
        await first_error_stops(one(ids) for ids in batches)
        self._refuse_outage(len(missing), at_end=True)
        self.store.save({}, sorted(self._absent), fetched_at=self.clock())

    def _keep(self, answer: BatchAnswer) -> None:
        self.store.save(answer.entities, [], fetched_at=self.clock())
        self._absent |= answer.absent
        self.failed |= answer.failed

    def _refuse_outage(self, n_missing: int, *, at_end: bool = False) -> None:
        bad = len(self._absent) + len(self.failed)
        enough = self._asked >= _MIN_SUSPICION or (at_end and n_missing >= 20)
        if not enough or bad <= _OUTAGE_SHARE * self._asked:
            return
        example = next(iter(self.failed.values()), "absent from the answers")
        raise DiscoveryError(
            f"{len(self._absent)} of {self._asked} images are absent from the graph's answers and "
            f"{len(self.failed)} fail ({example})",
            expected=f"at most {_OUTAGE_SHARE:.0%}, unless the service is down",
            fix="Run again later; what was answered is kept, and no image is marked as deleted.",
        )
