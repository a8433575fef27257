"""Asking Panoramax's API: by box until nothing can be missing, and by ids."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson
from yarl import URL

from citysplat_core.errors import BlockedError, DiscoveryError
from citysplat_core.imagery.panoramax.items import trimmed
from citysplat_core.imagery.services.http import Answer, Http, TransportFault
from citysplat_core.imagery.services.lookup import BatchAnswer
from citysplat_core.imagery.services.machine_pace import Pacer
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.imagery.services.retries import Retry

Bounds = tuple[float, float, float, float]
"""West, south, east, north, degrees."""

_MOST_CUTS = 9
"""A zoom-14 tile cut so often is about 5 m wide."""
_MOST_PAGES = 1000
_LIKELY_CAPS = frozenset({10, 20, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10_000})
"""An answer of exactly so many photos may have been cut at a limit that nobody told us of."""


class SearchFault(Exception):  # noqa: N818  # one tile's or photo's failure, never shown as it is
    """A request got no usable answer, however often it was repeated; the text says why."""


@dataclass(slots=True, kw_only=True)
class BoxAnswer:
    """What a search found.

    Attributes:
        items: Picture id to what is kept of its item.
        n_unreadable: Items without an id or a position.
        may_be_cut: Whether there may be more in the box than was answered.
        is_full: Whether the answer has as many photos as were asked for.
    """

    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    n_unreadable: int = 0
    may_be_cut: bool = False
    is_full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchClient:
    """Asks one Panoramax API.

    Attributes:
        http: Open connections.
        url: Base address, ending in ``/api``.
        pace: Spacing of requests.
        patience: Retries and pauses.
        limit: Most photos that are asked for at once.
    """

    http: Http
    url: str
    pace: Pacer
    patience: Patience
    limit: int

    async def box(self, bounds: Bounds, *, cuts: int = 0) -> BoxAnswer:
        """Return every photo of a box.

        The API cuts an answer at its limit without a word, so only an answer below the limit and
        without a next page proves that nothing is missing. Any other box is asked again in
        quarters.

        Args:
            bounds: The box; its edges belong to it.
            cuts: How often it was cut already.

        Raises:
            SearchFault: No usable answer, or too many photos in one spot.
            BlockedError: "Too many requests" for longer than our patience.
            DiscoveryError: This is no Panoramax API, or it refuses us.
        """
        answer = await self._pages(bounds)
        if not answer.may_be_cut:
            return answer
        if cuts == _MOST_CUTS:
            if answer.is_full:
                raise SearchFault(f"more than {self.limit} photos in one spot")
            return answer
        for quarter in _quarters(bounds):
            part = await self.box(quarter, cuts=cuts + 1)
            answer.items |= part.items
            answer.n_unreadable += part.n_unreadable
        return answer

    async def images(self, ids: Sequence[str], fields: str = "") -> BatchAnswer:
        """Describe photos by their ids.

        A photo that a search does not know is asked for by itself: only that answer tells a photo
        that is gone from one that was left out.

        Args:
            ids: At most 100, so that the address stays short.
            fields: Without meaning here: an item comes whole.

        Raises:
            BlockedError: "Too many requests" for longer than our patience.
            DiscoveryError: This is no Panoramax API, or it refuses us.
        """
        del fields
        query = {"ids": ",".join(ids), "limit": str(max(len(ids), 1))}
        try:
            value = await self._features(str(URL(f"{self._base}/search").with_query(query)))
        except SearchFault as fault:
            return BatchAnswer(failed=dict.fromkeys(ids, str(fault)))
        kept = (trimmed(item) for item in value["features"])
        answer = BatchAnswer(entities={item["id"]: item for item in kept if item is not None})
        answer.entities = {i: answer.entities[i] for i in ids if i in answer.entities}
        for image_id in ids:
            if image_id not in answer.entities:
                answer.merge(await self._picture(image_id))
        return answer

    async def _picture(self, image_id: str) -> BatchAnswer:
        try:
            answer = await self._ask(f"{self._base}/pictures/{image_id}", missing_is_answer=True)
        except SearchFault as fault:
            return BatchAnswer(failed={image_id: str(fault)})
        if answer.status == 404:
            return BatchAnswer(absent={image_id})
        item = trimmed(_json_object(answer.body))
        if item is None or item["id"] != image_id:
            return BatchAnswer(failed={image_id: "an item without id or position"})
        return BatchAnswer(entities={image_id: item})

    @property
    def _base(self) -> str:
        return self.url.rstrip("/")

    async def _pages(self, bounds: Bounds) -> BoxAnswer:
        """Ask for a box, page by page."""
        query = {"bbox": ",".join(map(repr, bounds)), "limit": str(self.limit)}
        url: str | None = str(URL(f"{self._base}/search").with_query(query))
        answer, seen = BoxAnswer(), set[str]()
        last = 0
        while url is not None:
            if url in seen or len(seen) > _MOST_PAGES:
                raise SearchFault("pages without an end")
            seen.add(url)
            value = await self._features(url)
            last = len(value["features"])
            for feature in value["features"]:
                item = trimmed(feature)
                if item is None:
                    answer.n_unreadable += 1
                else:
                    answer.items[item["id"]] = item
            url = self._next_page(value)
        answer.is_full = last >= self.limit
        one_page = len(seen) == 1
        answer.may_be_cut = answer.is_full or (one_page and last in _LIKELY_CAPS)
        return answer

    def _next_page(self, value: dict[str, Any]) -> str | None:
        links = value.get("links")
        for link in links if isinstance(links, list) else []:
            if isinstance(link, dict) and link.get("rel") == "next":
                url = URL(str(link.get("href", "")))
                if str(link.get("method", "GET")).upper() != "GET":
                    raise SearchFault("a next page that is not a GET request")
                if url.is_absolute() and url.host != urlsplit(self.url).hostname:
                    raise SearchFault("a next page on another host")
                return str(url if url.is_absolute() else URL(self.url).join(url))
        return None

    async def _features(self, url: str) -> dict[str, Any]:
        retry = Retry(self.patience)
        while True:
            value = _json_object((await self._ask(url, retry=retry)).body)
            if isinstance(value.get("features"), list):
                return value
            if not await retry.after_fault():
                raise SearchFault("an answer that is no list of photos")

    async def _ask(
        self, url: str, *, retry: Retry | None = None, missing_is_answer: bool = False
    ) -> Answer:
        """Ask until the answer is final, and return it if it can be used."""
        retry = retry or Retry(self.patience)
        while True:
            await self.pace.wait()
            try:
                answer = await self.http.get(url)
            except TransportFault as fault:
                reason = str(fault)
            else:
                if answer.status == 200 or (missing_is_answer and answer.status in {404, 410}):
                    return answer
                self._refuse_final(answer)
                reason = f"HTTP {answer.status}"
                if answer.status == 429:
                    self._pause(retry, answer)
                    continue
            if not await retry.after_fault():
                raise SearchFault(reason)

    def _refuse_final(self, answer: Answer) -> None:
        if answer.status in {400, 401, 403, 404, 405, 410, 422}:
            raise DiscoveryError(
                f"{self.url} refused a search (HTTP {answer.status})",
                expected="a Panoramax API",
                fix="Check source.panoramax_url in city.toml; it ends in /api.",
            )

    def _pause(self, retry: Retry, answer: Answer) -> None:
        pause_s = retry.pause_s(answer)
        if pause_s is None:
            raise BlockedError(
                f'{urlsplit(self.url).netloc} answers "too many requests" for longer than our '
                "patience",
                expected="answers again after a pause",
                fix="Run again in an hour, or lower source.searches_per_min; finished tiles are "
                "kept.",
            )
        self.pace.pause(pause_s)


def _quarters(bounds: Bounds) -> list[Bounds]:
    west, south, east, north = bounds
    lon, lat = (west + east) / 2.0, (south + north) / 2.0
    return [
        (west, south, lon, lat),
        (lon, south, east, lat),
        (west, lat, lon, north),
        (lon, lat, east, north),
    ]


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
