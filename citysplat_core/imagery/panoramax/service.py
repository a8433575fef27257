"""Panoramax as an image source."""

import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from citysplat_core.geography import Area
from citysplat_core.imagery.look_times import LookTimes
from citysplat_core.imagery.panoramax.files import FileAddresses, FollowingHttp
from citysplat_core.imagery.panoramax.items import catalog_row
from citysplat_core.imagery.panoramax.search import SearchClient
from citysplat_core.imagery.panoramax.tiles import TileAddress, TileResult, TileSearcher
from citysplat_core.imagery.photo_store import PhotoStore
from citysplat_core.imagery.preparing import prepared_photo
from citysplat_core.imagery.services.describing import Describer, one_run_at_a_time
from citysplat_core.imagery.services.http import run_async
from citysplat_core.imagery.services.machine_pace import MachinePace
from citysplat_core.imagery.services.metadata_store import Freshness, MetadataStore
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.imagery.services.photo_download import PhotoFetcher
from citysplat_core.imagery.services.retries import Clock
from citysplat_core.imagery.services.stored_first import fetch_missing
from citysplat_core.imagery.services.tile_cache import TileCache
from citysplat_core.imagery.source import Discovery, PhotoRequest, PhotoResult, SourceName
from citysplat_core.imagery.tables import (
    DESCRIBED_SCHEMA,
    FOUND_SCHEMA,
    TILES_SCHEMA,
    slices_of,
    table_of,
    utc_from_ms,
)
from citysplat_core.imagery.tile_merge import images_inside
from citysplat_core.settings import SourceSettings
from citysplat_core.storage import Progress

_ROWS_AT_ONCE = 5000
_SEARCHES_AT_ONCE = 4


class PanoramaxSource:
    """Panoramax's catalogue or one of its instances, or a server that speaks its protocol.

    Args:
        settings: Address, rates, connections.
        cache_dir: For tiles and items; may be deleted.
        machine_dir: For the count of searches, which all cities and processes of a machine share;
            None puts it into the cache.
        patience: Retries and pauses.
        clock: The time; tests pass their own.
    """

    name: SourceName = "panoramax"

    def __init__(
        self,
        settings: SourceSettings,
        cache_dir: Path,
        *,
        machine_dir: Path | None = None,
        patience: Patience | None = None,
        clock: Clock = time.time,
    ) -> None:
        """Prepare; nothing is asked before the first call."""
        self._settings = settings
        # Without the port: a local server that starts again elsewhere is still the same source.
        host = urlsplit(settings.panoramax_url).hostname or "unknown"
        self._folder = cache_dir / "panoramax" / host
        self._machine_dir = machine_dir or self._folder
        self._patience = patience or Patience()
        self._clock = clock

    def discover(self, area: Area, *, work: Path, refresh: bool, progress: Progress) -> Discovery:
        """List every photo of the area; see ``ImageSource.discover``."""
        return run_async(
            self._discover(area, self._times(work).not_before(refresh=refresh), progress)
        )

    async def _discover(self, area: Area, not_before: float, progress: Progress) -> Discovery:
        addresses = area.tiles()
        results: dict[TileAddress, TileResult] = {}
        tables: dict[TileAddress, pa.Table] = {}
        progress(0, len(addresses), "tiles")

        def done(result: TileResult) -> None:
            results[result.address] = result
            tables[result.address] = images_inside(result.found(), area)
            progress(len(results), len(addresses), "tiles")

        with self._items() as items:
            async with self._http() as http:
                searcher = TileSearcher(
                    client=self._client(http),
                    cache=TileCache(self._folder / "tiles"),
                    items=items,
                    at_once=min(_SEARCHES_AT_ONCE, self._settings.connections),
                    not_before=not_before,
                    clock=self._clock,
                )
                await searcher.search_all(addresses, done)
        n_unreadable = sum(result.n_unreadable for result in results.values())
        found = pa.concat_tables([FOUND_SCHEMA.empty_table(), *tables.values()])
        return Discovery(
            tiles=table_of([_ledger_row(results[a]) for a in sorted(results)], TILES_SCHEMA),
            found=found.take(pc.sort_indices(found, [("image_id", "ascending")])),
            notes={"items_unreadable": n_unreadable} if n_unreadable else {},
            stopped=searcher.stopped,
        )

    def describe(self, found: pa.Table, *, work: Path, progress: Progress) -> pa.Table:
        """Return the metadata of the photos; see ``ImageSource.describe``.

        Discovery has brought it along, so that only what a deleted cache has lost is asked for.
        """
        with one_run_at_a_time(self._ledger, progress, found.num_rows):
            run_async(self._describe(found, self._times(work).freshness(), progress))
        with self._items() as items:
            parts = [_described(part, items) for part in slices_of(found, _ROWS_AT_ONCE)]
        return pa.concat_tables([DESCRIBED_SCHEMA.empty_table(), *parts])

    async def _describe(self, found: pa.Table, fresh: Freshness, progress: Progress) -> None:
        with self._items() as items:
            async with self._http() as http:
                describer = Describer(
                    lookup=self._client(http),
                    fields="",
                    store=items,
                    clock=self._clock,
                    at_once=min(_SEARCHES_AT_ONCE, self._settings.connections),
                    rest_s=self._patience.rest_s,
                    progress=progress,
                )
                await describer.describe(found.column("image_id").to_pylist(), fresh)

    def fetch_photos(
        self,
        wanted: Sequence[PhotoRequest],
        store: PhotoStore,
        *,
        size_px: int,
        n_threads: int,
        progress: Progress,
    ) -> list[PhotoResult]:
        """Download photos, made upright and scaled; see ``ImageSource.fetch_photos``.

        Instances offer 500, 2048 pixels and the original: any other width is made from the next
        larger one.
        """
        return fetch_missing(
            wanted,
            store,
            size_px=size_px,
            n_threads=n_threads,
            progress=progress,
            connect=partial(self._fetcher, store, size_px),
        )

    @asynccontextmanager
    async def _fetcher(
        self, store: PhotoStore, size_px: int, executor: Executor
    ) -> AsyncIterator[PhotoFetcher]:
        with self._items() as items:
            async with self._http() as http:
                yield PhotoFetcher(
                    http=http,
                    lookup=FileAddresses(self._client(http), items, size_px),
                    address_field="url",
                    store=store,
                    size_px=size_px,
                    connections=self._settings.connections,
                    executor=executor,
                    patience=self._patience,
                    clock=self._clock,
                    prepare=lambda body: prepared_photo(body, size_px),
                )

    def _times(self, work: Path) -> LookTimes:
        return LookTimes(self._settings, self._clock, work)

    def _http(self) -> FollowingHttp:
        return FollowingHttp(self._settings.connections, self._settings.read_timeout_s)

    def _client(self, http: FollowingHttp) -> SearchClient:
        return SearchClient(
            http=http,
            url=self._settings.panoramax_url,
            pace=self._pace(),
            patience=self._patience,
            limit=self._settings.search_limit,
        )

    @property
    def _ledger(self) -> Path:
        return self._folder / "metadata.sqlite"

    def _pace(self) -> MachinePace:
        host = urlsplit(self._settings.panoramax_url).netloc
        file = self._machine_dir / "graph.sqlite"
        return MachinePace(file, host, self._settings.searches_per_min, self._clock)

    def _items(self) -> MetadataStore:
        return MetadataStore(self._ledger)


def _ledger_row(result: TileResult) -> dict[str, object]:
    z, x, y = result.address
    tile = result.tile
    return {
        "z": z,
        "x": x,
        "y": y,
        "state": result.state,
        "n_images": None if tile is None else result.found().num_rows,
        "sha256": None if tile is None else tile.sha256,
        "fetched_at": None if tile is None else utc_from_ms(int(tile.fetched_at * 1000)),
        "tries": 0 if result.state == "unknown" else None,
        "reason": result.reason or None,
    }


def _described(found: pa.Table, items: MetadataStore) -> pa.Table:
    known = items.read(found.column("image_id").to_pylist())
    rows = []
    for place in found.to_pylist():
        record = known.get(place["image_id"])
        if record is not None and record.entity is not None:
            rows.append(catalog_row(record.entity))
        elif record is not None and record.state == "gone":
            rows.append(_undescribed(place, "gone", "deleted at the source"))
        else:
            reason = record.error if record is not None else "not asked"
            rows.append(_undescribed(place, "failed", reason))
    return table_of(rows, DESCRIBED_SCHEMA)


def _undescribed(place: dict[str, object], status: str, reason: str) -> dict[str, object]:
    """Keep what discovery says about a photo that cannot be described now."""
    kept = ("image_id", "sequence_id", "captured_at", "lon", "lat", "is_pano")
    row = {name: place[name] for name in kept}
    return row | {"source": "panoramax", "status": status, "reason": reason}
