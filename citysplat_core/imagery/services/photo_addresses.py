"""The addresses of a batch of photos: asked for together, and together again when they expire."""

import asyncio
from collections.abc import Sequence

from citysplat_core.imagery.services.expiry import expires_at
from citysplat_core.imagery.services.lookup import BatchAnswer, ImageLookup
from citysplat_core.imagery.services.retries import Clock
from citysplat_core.imagery.source import PhotoResult


class Addresses:
    """Photo addresses of up to ``BATCH`` images; addresses live for days and are never stored.

    When one is expired or refused, those of all photos that are still missing are asked for in one
    request, so that a batch costs two requests and not fifty-one.

    Args:
        ids: The images.
        field: Name of the address in an image's description.
        lookup: Who is asked.
        clock: The time.
        margin_s: An address that expires sooner than this is not used, seconds.
    """

    def __init__(
        self, ids: Sequence[str], field: str, lookup: ImageLookup, clock: Clock, margin_s: float
    ) -> None:
        """Remember whom to ask; nothing is asked yet."""
        self._missing = list(ids)
        self._field, self._lookup, self._clock, self._margin_s = field, lookup, clock, margin_s
        self._answer = BatchAnswer()
        self._generation = 0
        self._lock = asyncio.Lock()

    @property
    def generation(self) -> int:
        """How often the addresses were asked for."""
        return self._generation

    async def renew(self, seen: int) -> None:
        """Ask for the addresses of the missing photos.

        Args:
            seen: The generation that turned out useless; if there is a newer one already, nothing
                is asked.
        """
        async with self._lock:
            if seen == self._generation:
                self._answer = await self._lookup.images(self._missing, f"id,{self._field}")
                self._generation += 1

    def finish(self, image_id: str) -> None:
        """Leave a photo out of further requests."""
        self._missing.remove(image_id)

    def usable(self, image_id: str) -> str | None:
        """Return an address that will live long enough, or None."""
        url = self._answer.entities.get(image_id, {}).get(self._field)
        if not isinstance(url, str):
            return None
        expiry = expires_at(url)
        soon = expiry is not None and expiry < self._clock() + self._margin_s
        return None if soon else url

    def refusal(self, image_id: str) -> PhotoResult | None:
        """Return the result of a photo that the service does not have or could not tell of."""
        if image_id in self._answer.absent:
            return PhotoResult(image_id=image_id, state="gone", reason="deleted at the source")
        if image_id in self._answer.failed:
            reason = self._answer.failed[image_id]
            return PhotoResult(image_id=image_id, state="failed", reason=reason)
        return None
