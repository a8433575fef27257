"""Downloading photos: many at once, checked before they count, addresses renewed in time."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from citysplat_core.errors import ImageError
from citysplat_core.imagery.mapillary.cdn_url import expires_at
from citysplat_core.imagery.mapillary.graph import BATCH, BatchAnswer, GraphClient
from citysplat_core.imagery.mapillary.http import Answer, Http, TransportFault
from citysplat_core.imagery.mapillary.limits import Clock, Retry
from citysplat_core.imagery.mapillary.policy import Patience
from citysplat_core.imagery.mapillary.tasks import first_error_stops
from citysplat_core.imagery.photo_store import PhotoStore, StoredPhoto
from citysplat_core.imagery.source import PhotoResult, fetched

_BATCHES_AT_ONCE = 4
_MAX_RENEWALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFetcher:
    """Downloads photos into a store.

    Attributes:
        http: Open connections.
        graph: For the addresses, which are never stored.
        store: Where photos go.
        size_px: Width wanted; 0 for the original.
        connections: Downloads at once.
        executor: Threads that check and write photos.
        patience: Retries.
        clock: The time.
    """

    http: Http
    graph: GraphClient
    store: PhotoStore
    size_px: int
    connections: int
    executor: Executor
    patience: Patience
    clock: Clock

    async def fetch_all(self, ids: Sequence[str], done: Callable[[PhotoResult], None]) -> None:
        """Download photos; ``done`` is called once for each, in no order.

        Raises:
            TokenError: The token is refused.
            BlockedError: "Limit reached" for longer than our patience.
            StorageError: The disk is full.
        """
        downloads = asyncio.Semaphore(self.connections)
        batches = asyncio.Semaphore(_BATCHES_AT_ONCE)

        async def one(image_id: str, urls: BatchAnswer) -> None:
            async with downloads:
                done(await self._fetch(image_id, urls))

        async def batch(part: list[str]) -> None:
            async with batches:
                urls = await self._urls(part)
                await first_error_stops(one(image_id, urls) for image_id in part)

        parts = [list(ids[i : i + BATCH]) for i in range(0, len(ids), BATCH)]
        await first_error_stops(batch(part) for part in parts)

    @property
    def _field(self) -> str:
        return f"thumb_{self.size_px or 'original'}_url"

    async def _urls(self, ids: list[str]) -> BatchAnswer:
        return await self.graph.images(ids, f"id,{self._field}")

    def _usable_url(self, image_id: str, urls: BatchAnswer) -> str | None:
        url = urls.entities.get(image_id, {}).get(self._field)
        if not isinstance(url, str):
            return None
        expiry = expires_at(url)
        soon = expiry is not None and expiry < self.clock() + self.patience.url_margin_s
        return None if soon else url

    async def _fetch(self, image_id: str, urls: BatchAnswer) -> PhotoResult:
        retry, renewals, reason = Retry(self.patience), 0, ""
        while True:
            refused = _refusal(image_id, urls)
            if refused is not None:
                return refused
            url = self._usable_url(image_id, urls)
            if url is not None:
                photo, reason, renew = await self._try(image_id, url)
                if photo is not None:
                    return fetched(image_id, photo)
                if not renew:
                    if await retry.after_fault():
                        continue
                    return PhotoResult(image_id=image_id, state="failed", reason=reason)
            renewals += 1
            if renewals > _MAX_RENEWALS:
                reason = reason or "the service gives no usable address"
                return PhotoResult(image_id=image_id, state="failed", reason=reason)
            urls = await self._urls([image_id])

    async def _try(self, image_id: str, url: str) -> tuple[StoredPhoto | None, str, bool]:
        """Return the photo, or why not and whether another address may help."""
        try:
            answer = await self.http.get_photo(url)
        except TransportFault as fault:
            return None, str(fault), False
        if answer.status in {403, 404, 410}:
            return None, f"HTTP {answer.status}", True
        problem = _problem(answer)
        if problem:
            return None, problem, False
        loop = asyncio.get_running_loop()
        try:
            photo = await loop.run_in_executor(
                self.executor, self.store.save, image_id, self.size_px, answer.body
            )
        except ImageError as error:
            return None, error.seen, False
        return photo, "", False


def _problem(answer: Answer) -> str:
    if answer.status != 200:
        return f"HTTP {answer.status}"
    if not answer.content_type.startswith("image/"):
        return f"{answer.content_type} in place of a photo"
    return ""


def _refusal(image_id: str, urls: BatchAnswer) -> PhotoResult | None:
    if image_id in urls.absent:
        return PhotoResult(image_id=image_id, state="gone", reason="deleted at the source")
    if image_id in urls.failed:
        return PhotoResult(image_id=image_id, state="failed", reason=urls.failed[image_id])
    return None
