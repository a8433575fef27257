"""Downloading photos: many at once, checked before they count, addresses renewed in time."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from enum import Enum, auto

from citysplat_core.errors import BlockedError, ImageError
from citysplat_core.imagery.photo_store import PhotoStore, StoredPhoto
from citysplat_core.imagery.services.http import Answer, Http, TransportFault
from citysplat_core.imagery.services.lookup import BATCH, ImageLookup
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.imagery.services.photo_addresses import Addresses
from citysplat_core.imagery.services.retries import Clock, Pace, Retry
from citysplat_core.imagery.services.tasks import first_error_stops
from citysplat_core.imagery.source import PhotoResult, fetched

_BATCHES_AT_ONCE = 4
_MAX_RENEWALS = 3
_UNPACED = 10_000_000
"""Requests a minute that never wait: the photo host is only ever paused."""


class _Outcome(Enum):
    """What one request for a photo came to."""

    DONE = auto()
    FAULT = auto()
    OLD_ADDRESS = auto()
    LIMIT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    outcome: _Outcome
    photo: StoredPhoto | None = None
    reason: str = ""
    answer: Answer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFetcher:
    """Downloads photos into a store.

    Attributes:
        http: Open connections.
        lookup: For the addresses, which are never stored.
        address_field: Name of the address in what the lookup says of a photo.
        store: Where photos go.
        size_px: Width wanted; 0 for the original.
        connections: Downloads at once.
        executor: Threads that check and write photos.
        patience: Retries.
        clock: The time.
        pace: Pauses all downloads when the photo host says "too many".
        prepare: Called with the bytes that came, gives those to keep.
    """

    http: Http
    lookup: ImageLookup
    address_field: str
    store: PhotoStore
    size_px: int
    connections: int
    executor: Executor
    patience: Patience
    clock: Clock
    pace: Pace = field(default_factory=lambda: Pace(_UNPACED))
    prepare: Callable[[bytes], bytes] | None = None

    async def fetch_all(self, ids: Sequence[str], done: Callable[[PhotoResult], None]) -> None:
        """Download photos; ``done`` is called once for each, in no order.

        Raises:
            TokenError: The token is refused.
            BlockedError: "Limit reached" for longer than our patience.
            StorageError: The disk is full.
        """
        downloads = asyncio.Semaphore(self.connections)
        batches = asyncio.Semaphore(_BATCHES_AT_ONCE)

        async def one(image_id: str, addresses: Addresses) -> None:
            async with downloads:
                result = await self._fetch(image_id, addresses)
            addresses.finish(image_id)
            done(result)

        async def batch(part: list[str]) -> None:
            async with batches:
                addresses = self._addresses(part)
                await addresses.renew(seen=0)
                await first_error_stops(one(image_id, addresses) for image_id in part)

        parts = [list(ids[i : i + BATCH]) for i in range(0, len(ids), BATCH)]
        await first_error_stops(batch(part) for part in parts)

    def _addresses(self, ids: Sequence[str]) -> Addresses:
        margin_s = self.patience.url_margin_s
        return Addresses(ids, self.address_field, self.lookup, self.clock, margin_s)

    async def _fetch(self, image_id: str, addresses: Addresses) -> PhotoResult:
        """Try until the photo is there, is known to be gone, or patience ends."""
        retry, renewals = Retry(self.patience), 0
        reason = "the service gives no usable address"
        while True:
            there = self.store.find(image_id, self.size_px)
            if there is not None:  # another run was faster
                return fetched(image_id, there)
            refused = addresses.refusal(image_id)
            if refused is not None:
                return refused
            generation = addresses.generation
            url = addresses.usable(image_id)
            if url is not None:
                last = await self._try(image_id, url)
                if last.photo is not None:
                    return fetched(image_id, last.photo)
                reason = last.reason
                if last.outcome is _Outcome.LIMIT:
                    self._pause(retry, last)
                    continue
                if last.outcome is _Outcome.FAULT:
                    if await retry.after_fault():
                        continue
                    return PhotoResult(image_id=image_id, state="failed", reason=reason)
            renewals += 1
            if renewals > _MAX_RENEWALS:
                return PhotoResult(image_id=image_id, state="failed", reason=reason)
            await addresses.renew(seen=generation)

    async def _try(self, image_id: str, url: str) -> _Try:
        await self.pace.wait()
        try:
            answer = await self.http.get(url)
        except TransportFault as fault:
            return _Try(outcome=_Outcome.FAULT, reason=str(fault))
        if answer.status == 429:
            return _Try(outcome=_Outcome.LIMIT, reason="HTTP 429", answer=answer)
        if answer.status in {403, 404, 410}:
            return _Try(outcome=_Outcome.OLD_ADDRESS, reason=f"HTTP {answer.status}")
        problem = _problem(answer)
        if problem:
            return _Try(outcome=_Outcome.FAULT, reason=problem)
        loop = asyncio.get_running_loop()
        try:
            photo = await loop.run_in_executor(self.executor, self._keep, image_id, answer.body)
        except ImageError as error:
            return _Try(outcome=_Outcome.FAULT, reason=error.seen)
        return _Try(outcome=_Outcome.DONE, photo=photo)

    def _keep(self, image_id: str, body: bytes) -> StoredPhoto:
        kept = body if self.prepare is None else self.prepare(body)
        return self.store.save(image_id, self.size_px, kept)

    def _pause(self, retry: Retry, last: _Try) -> None:
        pause_s = retry.pause_s(last.answer)
        if pause_s is None:
            raise BlockedError(
                "the photo host answers HTTP 429 for longer than our patience",
                expected="photos again after a pause",
                fix="Run again in an hour, with fewer source.connections; the photos that came "
                "are kept.",
            )
        self.pace.pause(pause_s)


def _problem(answer: Answer) -> str:
    if answer.status != 200:
        return f"HTTP {answer.status}"
    if not answer.content_type.startswith("image/"):
        return f"{answer.content_type} in place of a photo"
    return ""
