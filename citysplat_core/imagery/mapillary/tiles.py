"""Fetching vector tiles: paced, cached, and silent at the first sign of a block."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import pyarrow as pa

from citysplat_core.errors import BlockedError, DiscoveryError, TokenError
from citysplat_core.imagery.mapillary.decode import decode_tile
from citysplat_core.imagery.mapillary.http import Answer, Http, TransportFault
from citysplat_core.imagery.mapillary.limits import Clock, Retry, TileBudget, blocked_error
from citysplat_core.imagery.mapillary.policy import Patience
from citysplat_core.imagery.mapillary.tasks import first_error_stops
from citysplat_core.imagery.mapillary.tile_cache import CachedTile, TileCache

_LOG = logging.getLogger(__name__)
TILE_SET = "mly1_public"
"""Original positions; unlike the computed set it has the images that SfM could not place."""
_LOGIN_TYPES = ("text/html", "application/json")
_AT_ONCE = 8

TileAddress = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TileResult:
    """What is known of a tile.

    Attributes:
        address: Zoom, column, row.
        state: ``complete`` (has images), ``empty``, ``unknown`` (the host has no answer) or
            ``failed`` (it has one that cannot be used).
        tile: The bytes, if there are any to use.
        reason: Why not, if not.
    """

    address: TileAddress
    state: Literal["unknown", "empty", "complete", "failed"]
    tile: CachedTile | None = None
    reason: str = ""

    def images(self) -> pa.Table:
        """Return the tile's images, ``FOUND_SCHEMA``; none unless it is complete."""
        body = self.tile.body if self.tile is not None else b""
        return decode_tile(body, *self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileFetcher:
    """Gets tiles from the cache or the host.

    Attributes:
        http: Open connections.
        tiles_url: Base address of the host.
        cache: Tiles that were fetched before.
        budget: The machine's request count.
        patience: Retries.
        not_before: Cached tiles older than this are asked for again, seconds since 1970.
        clock: The time.
    """

    http: Http
    tiles_url: str
    cache: TileCache
    budget: TileBudget
    patience: Patience
    not_before: float
    clock: Clock

    async def fetch_all(
        self, addresses: list[TileAddress], done: Callable[[TileResult], None]
    ) -> None:
        """Get tiles; ``done`` is called once for each, in no order.

        The first tile that needs a request goes alone: if the host blocks this machine, one
        request finds out.

        Raises:
            BlockedError: The host blocks this machine or the day's requests are used up.
            TokenError: The host refuses the token.
            StorageError: The disk is full.
        """
        missing = []
        for address in addresses:
            result = self._from_cache(address)
            if result is None:
                missing.append(address)
            else:
                done(result)
        _LOG.info(
            "tiles: %d in the cache, %d to fetch", len(addresses) - len(missing), len(missing)
        )
        if missing:
            done(await self._fetch(missing[0]))
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(address: TileAddress) -> None:
            async with gate:
                done(await self._fetch(address))

        await first_error_stops(one(address) for address in missing[1:])

    def _from_cache(self, address: TileAddress) -> TileResult | None:
        tile = self.cache.read(*address, not_before=self.not_before)
        return None if tile is None else _result(address, tile)

    async def _fetch(self, address: TileAddress) -> TileResult:
        retry = Retry(self.patience)
        while True:
            wait_s = self.budget.reserve()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            try:
                answer = await self.http.get_tile(self._url(address))
                usable, reason = self._judge(answer), f"HTTP {answer.status}"
            except TransportFault as fault:
                answer, usable, reason = None, False, str(fault)
            if answer is not None and usable:
                try:
                    return self._keep(address, answer.body)
                except DiscoveryError as error:
                    reason = error.seen
            if answer is not None and answer.status == 429:
                await asyncio.sleep(self._pause_s(retry, answer))
                continue
            if await retry.after_fault():
                continue
            missing = answer is not None and answer.status == 404
            return TileResult(
                address=address, state="unknown" if missing else "failed", reason=reason
            )

    def _url(self, address: TileAddress) -> str:
        z, x, y = address
        return f"{self.tiles_url.rstrip('/')}/maps/vtp/{TILE_SET}/2/{z}/{x}/{y}"

    def _pause_s(self, retry: Retry, answer: Answer) -> float:
        pause_s = retry.pause_s(answer)
        if pause_s is None:
            raise BlockedError(
                f'{urlsplit(self.tiles_url).netloc} answers "too many requests" for longer than '
                "our patience",
                expected="vector tiles again after a pause",
                fix="The application's tiles of the day are used up: run again tomorrow; finished "
                "tiles are kept.",
            )
        return pause_s

    def _judge(self, answer: Answer) -> bool:
        """Return whether the answer is a tile; raise if it ends the whole stage."""
        login = answer.status == 200 and answer.content_type in _LOGIN_TYPES
        if login or 300 <= answer.status < 400:
            self.budget.report_block()
            host = urlsplit(self.tiles_url).netloc
            raise blocked_error(host, self.clock() + self.patience.block_silence_s)
        if answer.status in {401, 403}:
            raise TokenError(
                f"{urlsplit(self.tiles_url).netloc} refused the token (HTTP {answer.status})",
                expected="a Mapillary client token (MLY|...)",
                fix="Check MAPILLARY_TOKEN; tokens are made at mapillary.com/dashboard/developers.",
            )
        return answer.status in {200, 204}

    def _keep(self, address: TileAddress, body: bytes) -> TileResult:
        decode_tile(body, *address)  # a body that cannot be read must not enter the cache
        tile = self.cache.write(*address, body, fetched_at=self.clock())
        self.budget.report_success()
        return _result(address, tile)


def _result(address: TileAddress, tile: CachedTile) -> TileResult:
    has_images = decode_tile(tile.body, *address).num_rows > 0
    return TileResult(address=address, state="complete" if has_images else "empty", tile=tile)
