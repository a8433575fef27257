"""Fetching vector tiles: paced, cached, and silent at the first sign of a block."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import pyarrow as pa

from citysplat_core.errors import BlockedError, BudgetError, DiscoveryError, TokenError
from citysplat_core.imagery.mapillary.decode import DecodedTile, decode_tile
from citysplat_core.imagery.mapillary.http import MapillaryHttp
from citysplat_core.imagery.mapillary.sudden_loss import doubts
from citysplat_core.imagery.mapillary.tile_budget import TileBudget, blocked_error
from citysplat_core.imagery.services.http import Answer, TransportFault
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.imagery.services.retries import Clock, Retry
from citysplat_core.imagery.services.tasks import first_error_stops
from citysplat_core.imagery.services.tile_cache import CachedTile, TileCache
from citysplat_core.imagery.tables import FOUND_SCHEMA, utc_from_ms
from citysplat_core.imagery.tile_rows import TileAddress

_LOG = logging.getLogger(__name__)
TILE_SET = "mly1_public"
"""Original positions; unlike the computed set it has the images that SfM could not place."""
_LOGIN_TYPES = ("text/html", "application/json")
_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TileResult:
    """What is known of a tile.

    Attributes:
        address: Zoom, column, row.
        state: ``complete`` (has images), ``empty``, ``unknown`` (the host has no answer) or
            ``failed`` (it has one that cannot be used).
        images: ``FOUND_SCHEMA``; none unless it is complete.
        n_rounded: Ids that came as inexact numbers.
        sha256: Of the bytes, hex; empty if there are none to use.
        fetched_at: When they came, seconds since 1970; None if there are none.
        tries: Requests of this run.
        reason: Why there is no answer, if there is none.
    """

    address: TileAddress
    state: Literal["unknown", "empty", "complete", "failed"]
    images: pa.Table
    n_rounded: int = 0
    sha256: str = ""
    fetched_at: float | None = None
    tries: int = 0
    reason: str = ""


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

    http: MapillaryHttp
    tiles_url: str
    cache: TileCache
    budget: TileBudget
    patience: Patience
    not_before: float
    clock: Clock

    async def fetch_all(
        self, addresses: list[TileAddress], done: Callable[[TileResult], None]
    ) -> DiscoveryError | None:
        """Get tiles; ``done`` is called once for each that was asked, in no order.

        Tiles that were never read come first, then the one that was read longest ago. The first
        request goes alone: if the host blocks this machine, one request finds out.

        Returns:
            What ended it before the last tile: BlockedError (the host blocks this machine, or, as
            BudgetError, the day's requests are used up) or TokenError; None if nothing did.

        Raises:
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
        missing.sort(key=lambda address: self.cache.fetched_at(*address) or 0.0)
        try:
            await self._fetch_missing(missing, done)
        except (BlockedError, TokenError) as error:
            return error
        return None

    async def _fetch_missing(
        self, missing: list[TileAddress], done: Callable[[TileResult], None]
    ) -> None:
        if missing:
            done(await self._fetch(missing[0]))
        gate = asyncio.Semaphore(_AT_ONCE)
        used_up: list[BudgetError] = []

        async def one(address: TileAddress) -> None:
            async with gate:
                if used_up:
                    return
                try:
                    done(await self._fetch(address))
                except BudgetError as error:
                    used_up.append(error)  # the requests that are under way still count and come

        await first_error_stops(one(address) for address in missing[1:])
        if used_up:
            raise used_up[0]

    def _from_cache(self, address: TileAddress) -> TileResult | None:
        tile = self.cache.read(*address, not_before=self.not_before, now=self.clock())
        if tile is None:
            return None
        try:
            return _result(address, tile, decode_tile(tile.body, *address), tries=0)
        except DiscoveryError:
            return None

    async def _fetch(self, address: TileAddress) -> TileResult:
        retry = Retry(self.patience)
        tries = 0
        while True:
            await self._wait_for_turn()
            tries += 1
            sent_at = self.clock()
            try:
                answer = await self.http.get_tile(self._url(address))
                usable, reason = self._judge(answer), f"HTTP {answer.status}"
            except TransportFault as fault:
                answer, usable, reason = None, False, str(fault)
            if answer is not None and usable:
                try:
                    return self._keep(address, answer.body, sent_at, tries)
                except DiscoveryError as error:
                    reason = error.seen
            if answer is not None and _is_told_to_wait(answer):
                self.budget.pause(self._pause_s(retry, answer))
                continue
            if await retry.after_fault():
                continue
            missing = answer is not None and answer.status == 404
            return _unread(address, "unknown" if missing else "failed", tries, reason)

    async def _wait_for_turn(self) -> None:
        """Take a place in the machine's queue and wait for it; another may be blocked meanwhile."""
        wait_s = self.budget.reserve()
        while wait_s > 0:
            await asyncio.sleep(wait_s)
            wait_s = self.budget.still_to_wait()

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
        told = answer.retry_after_s()
        return pause_s if told is None else told

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

    def _keep(self, address: TileAddress, body: bytes, sent_at: float, tries: int) -> TileResult:
        decoded = decode_tile(body, *address)  # what cannot be read must not enter the cache
        self.budget.report_success(sent_at=sent_at)
        # Rounded ids are all others than before; they are told apart when they are repaired.
        is_exact = decoded.n_rounded == 0
        reason = doubts(self.cache, address, decoded.images, now=sent_at) if is_exact else ""
        if reason:
            return _unread(address, "failed", tries, reason)
        tile = self.cache.write(*address, body, fetched_at=self.clock())
        return _result(address, tile, decoded, tries=tries)


def _is_told_to_wait(answer: Answer) -> bool:
    return answer.status == 429 or (answer.status == 503 and answer.retry_after_s() is not None)


def _unread(
    address: TileAddress, state: Literal["unknown", "failed"], tries: int, reason: str
) -> TileResult:
    nothing = FOUND_SCHEMA.empty_table()
    return TileResult(address=address, state=state, images=nothing, tries=tries, reason=reason)


def _result(
    address: TileAddress, tile: CachedTile, decoded: DecodedTile, *, tries: int
) -> TileResult:
    return TileResult(
        address=address,
        state="complete" if decoded.images.num_rows > 0 else "empty",
        images=decoded.images,
        n_rounded=decoded.n_rounded,
        sha256=tile.sha256,
        fetched_at=tile.fetched_at,
        tries=tries,
    )


def tile_row(address: TileAddress, result: TileResult | None, reason: str) -> dict[str, object]:
    """Give the row of ``TILES_SCHEMA`` of a tile; without a result it was not asked."""
    z, x, y = address
    if result is None:
        return {"z": z, "x": x, "y": y, "state": "unknown", "tries": 0,
                "reason": f"not asked: {reason}"}  # fmt: skip
    at = result.fetched_at
    return {
        "z": z,
        "x": x,
        "y": y,
        "state": result.state,
        "n_images": None if at is None else result.images.num_rows,
        "sha256": result.sha256 or None,
        "fetched_at": None if at is None else utc_from_ms(int(at * 1000)),
        "tries": result.tries,
        "reason": result.reason or None,
    }
