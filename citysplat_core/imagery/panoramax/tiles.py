"""Searching the area tile by tile: paced, cached, honest about what was not answered."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import pyarrow as pa

from citysplat_core.errors import BlockedError, DiscoveryError
from citysplat_core.geography import DISCOVERY_ZOOM, tile_bounds, tile_of
from citysplat_core.imagery.panoramax.items import catalog_row
from citysplat_core.imagery.panoramax.search import SearchClient, SearchFault
from citysplat_core.imagery.services.metadata_store import MetadataStore
from citysplat_core.imagery.services.retries import Clock
from citysplat_core.imagery.services.tasks import first_error_stops
from citysplat_core.imagery.services.tile_cache import CachedTile, TileCache
from citysplat_core.imagery.tables import FOUND_SCHEMA, table_of

_LOG = logging.getLogger(__name__)
_FAILURES_THAT_STOP = 4

TileAddress = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TileResult:
    """What is known of a tile.

    Attributes:
        address: Zoom, column, row.
        state: ``complete`` (has photos), ``empty``, ``failed``, or ``unknown`` (was not asked).
        tile: The answer, if there is one to use.
        reason: Why not, if not.
        n_unreadable: Items of the answer that could not be read.
    """

    address: TileAddress
    state: Literal["unknown", "empty", "complete", "failed"]
    tile: CachedTile | None = None
    reason: str = ""
    n_unreadable: int = 0

    def found(self) -> pa.Table:
        """Return the tile's photos, ``FOUND_SCHEMA``."""
        items = orjson.loads(self.tile.body) if self.tile is not None and self.tile.body else []
        name = "/".join(map(str, self.address))
        return table_of([catalog_row(item) | {"tile": name} for item in items], FOUND_SCHEMA)


@dataclass(slots=True, kw_only=True)
class TileSearcher:
    """Gets the photos of tiles from the cache or the service.

    Attributes:
        client: The API.
        cache: Tiles that were answered before.
        items: Gets every item, for describing and fetching.
        at_once: Tiles searched at the same time.
        not_before: Cached tiles older than this are asked for again, seconds since 1970.
        clock: The time.
        stopped: What ended the search before every tile was asked.
    """

    client: SearchClient
    cache: TileCache
    items: MetadataStore
    at_once: int
    not_before: float
    clock: Clock
    stopped: DiscoveryError | None = None
    _failures: int = 0
    _answers: int = 0

    async def search_all(
        self, addresses: list[TileAddress], done: Callable[[TileResult], None]
    ) -> None:
        """Get tiles; ``done`` is called once for each, in no order.

        The first tile that needs a request goes alone, and a row of failures ends the search: a
        service that is down is not asked a thousand times.

        Raises:
            DiscoveryError: This is no Panoramax API, or it refuses us.
            StorageError: The disk is full.
        """
        missing = []
        for address in addresses:
            tile = self.cache.read(*address, not_before=self.not_before, now=self.clock())
            if tile is None:
                missing.append(address)
            else:
                done(_result(address, tile, 0))
        _LOG.info(
            "tiles: %d in the cache, %d to search", len(addresses) - len(missing), len(missing)
        )
        gate = asyncio.Semaphore(self.at_once)

        async def one(address: TileAddress) -> None:
            async with gate:
                done(await self._search(address))

        if missing:
            await one(missing[0])
        await first_error_stops(one(address) for address in missing[1:])

    async def _search(self, address: TileAddress) -> TileResult:
        if self.stopped is not None:
            return TileResult(address=address, state="unknown", reason="not asked")
        try:
            answer = await self.client.box(tile_bounds(*address))
        except SearchFault as fault:
            self._count_failure(str(fault))
            return TileResult(address=address, state="failed", reason=str(fault))
        except BlockedError as error:
            self.stopped = error
            return TileResult(address=address, state="failed", reason=error.seen)
        except DiscoveryError as error:
            if not self._answers:
                raise  # the address is wrong, not the moment
            self._count_failure(error.seen)
            return TileResult(address=address, state="failed", reason=error.seen)
        self._failures, self._answers = 0, self._answers + 1
        items = [item for _, item in sorted(answer.items.items()) if _tile_of(item) == address[1:]]
        at = self.clock()
        self.items.save(answer.items, at=at)
        tile = self.cache.write(*address, _body(items), fetched_at=at)
        return _result(address, tile, answer.n_unreadable)

    def _count_failure(self, reason: str) -> None:
        self._failures += 1
        if self._failures >= _FAILURES_THAT_STOP and self.stopped is None:
            self.stopped = DiscoveryError(
                f"{self._failures} tiles in a row could not be searched ({reason})",
                expected="answers of the Panoramax API",
                fix="Run again later; what was answered is kept. This does not mean that the area "
                "is empty.",
            )


def _tile_of(item: dict[str, Any]) -> tuple[int, int]:
    """Return the tile that an item lies in: a box's edges belong to its neighbours as well."""
    x, y = tile_of([item["position"][0]], [item["position"][1]], DISCOVERY_ZOOM)
    return int(x[0]), int(y[0])


def _body(items: list[dict[str, Any]]) -> bytes:
    return orjson.dumps(items, option=orjson.OPT_SORT_KEYS) if items else b""


def _result(address: TileAddress, tile: CachedTile, n_unreadable: int) -> TileResult:
    return TileResult(
        address=address,
        state="complete" if tile.body else "empty",
        tile=tile,
        n_unreadable=n_unreadable,
    )
