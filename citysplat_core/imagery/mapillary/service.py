"""Mapillary as an image source."""

import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from citysplat_core.geography import Area
from citysplat_core.imagery.look_times import LookTimes
from citysplat_core.imagery.mapillary.detections import DetectionFetcher, DetectionStore, Said
from citysplat_core.imagery.mapillary.entities import FIELDS, described_table
from citysplat_core.imagery.mapillary.graph import GraphClient
from citysplat_core.imagery.mapillary.http import MapillaryHttp
from citysplat_core.imagery.mapillary.rounded import repair_ids
from citysplat_core.imagery.mapillary.tile_budget import TileBudget
from citysplat_core.imagery.mapillary.tiles import TILE_SET, TileFetcher, TileResult, tile_row
from citysplat_core.imagery.photo_store import PhotoStore
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
)
from citysplat_core.imagery.tile_merge import images_inside, unique_by_id
from citysplat_core.imagery.token import Token
from citysplat_core.settings import SourceSettings
from citysplat_core.storage import Progress

_ROWS_AT_ONCE = 5000
_METADATA_AT_ONCE = 32


class MapillarySource:
    """Mapillary, or a server that speaks its protocol.

    Args:
        settings: Addresses, rates, connections.
        token: The access token.
        cache_dir: For tiles and metadata; may be deleted.
        machine_dir: For the counts of tile and metadata requests, which all cities and processes
            of a machine share; None puts them into the cache.
        patience: Retries and pauses.
        clock: The time; tests pass their own.
    """

    name: SourceName = "mapillary"

    def __init__(
        self,
        settings: SourceSettings,
        token: Token,
        cache_dir: Path,
        *,
        machine_dir: Path | None = None,
        patience: Patience | None = None,
        clock: Clock = time.time,
    ) -> None:
        """Prepare; nothing is asked before the first call."""
        self._settings, self._token = settings, token
        # Without the port: a local server that starts again elsewhere is still the same source.
        host = urlsplit(settings.graph_url).hostname or "unknown"
        self._folder = cache_dir / "mapillary" / host
        self._machine_dir = machine_dir or self._folder
        self._patience = patience or Patience()
        self._clock = clock

    def discover(self, area: Area, *, work: Path, refresh: bool, progress: Progress) -> Discovery:
        """List every image of the area; see ``ImageSource.discover``."""
        return run_async(
            self._discover(area, self._times(work).not_before(refresh=refresh), progress)
        )

    async def _discover(self, area: Area, not_before: float, progress: Progress) -> Discovery:
        addresses = area.tiles()
        results: dict[tuple[int, int, int], TileResult] = {}
        progress(0, len(addresses), "tiles")

        def done(result: TileResult) -> None:
            results[result.address] = result
            progress(len(results), len(addresses), "tiles")

        async with self._http() as http:
            stopped = await self._tile_fetcher(http, not_before).fetch_all(addresses, done)
            repaired = await repair_ids(results, self._graph(http))
        reason = stopped.seen if stopped is not None else ""
        rows = [tile_row(a, repaired.results.get(a), reason) for a in addresses]
        clipped = [
            images_inside(repaired.results[a].images, area) for a in sorted(repaired.results)
        ]
        return Discovery(
            tiles=table_of(rows, TILES_SCHEMA),
            found=unique_by_id(pa.concat_tables([FOUND_SCHEMA.empty_table(), *clipped])),
            notes=repaired.notes,
            stopped=stopped,
        )

    def describe(self, found: pa.Table, *, work: Path, progress: Progress) -> pa.Table:
        """Return the metadata of the images; see ``ImageSource.describe``."""
        ledger = self._folder / "metadata.sqlite"
        fresh = self._times(work).freshness()
        with one_run_at_a_time(ledger, progress, found.num_rows):
            run_async(self._describe(found, ledger, fresh, progress))
        with MetadataStore(ledger) as store:
            parts = [
                described_table(part, store.read(part.column("image_id").to_pylist()))
                for part in slices_of(found, _ROWS_AT_ONCE)
            ]
        return pa.concat_tables([DESCRIBED_SCHEMA.empty_table(), *parts])

    async def _describe(
        self, found: pa.Table, ledger: Path, fresh: Freshness, progress: Progress
    ) -> None:
        with MetadataStore(ledger) as store:
            async with self._http() as http:
                graph = self._graph(http)
                describer = Describer(
                    lookup=graph,
                    fields=FIELDS,
                    batch=graph.batch,
                    store=store,
                    clock=self._clock,
                    at_once=min(_METADATA_AT_ONCE, self._settings.connections),
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
        """Bring photos into the store; see ``ImageSource.fetch_photos``."""
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
        async with self._http() as http:
            yield PhotoFetcher(
                http=http,
                lookup=self._graph(http),
                address_field=f"thumb_{size_px or 'original'}_url",
                store=store,
                size_px=size_px,
                connections=self._settings.connections,
                executor=executor,
                patience=self._patience,
                clock=self._clock,
            )

    def fetch_detections(self, image_ids: Sequence[str], *, progress: Progress) -> dict[str, Said]:
        """Return what was detected in photos; see ``DetectionSource.fetch_detections``."""
        return run_async(self._fetch_detections(image_ids, progress))

    async def _fetch_detections(
        self, image_ids: Sequence[str], progress: Progress
    ) -> dict[str, Said]:
        async with self._http() as http:
            fetcher = DetectionFetcher(
                graph=self._graph(http),
                store=DetectionStore(self._folder / "detections.sqlite"),
                clock=self._clock,
                at_once=min(_METADATA_AT_ONCE, self._settings.connections),
                progress=progress,
            )
            return await fetcher.fetch(image_ids)

    def _times(self, work: Path) -> LookTimes:
        return LookTimes(self._settings, self._clock, work)

    def _http(self) -> MapillaryHttp:
        return MapillaryHttp(self._token, self._settings.connections, self._settings.read_timeout_s)

    def _graph(self, http: MapillaryHttp) -> GraphClient:
        return GraphClient(
            http=http,
            graph_url=self._settings.graph_url,
            pace=MachinePace(
                self._machine_dir / "graph.sqlite",
                urlsplit(self._settings.graph_url).netloc,
                self._settings.entities_per_min,
                self._clock,
            ),
            patience=self._patience,
        )

    def _tile_fetcher(self, http: MapillaryHttp, not_before: float) -> TileFetcher:
        settings = self._settings
        host = urlsplit(settings.tiles_url).netloc
        return TileFetcher(
            http=http,
            tiles_url=settings.tiles_url,
            cache=TileCache(self._folder / "tiles" / TILE_SET),
            budget=TileBudget(
                self._machine_dir / "requests.sqlite",
                host,
                per_min=settings.tiles_per_min,
                per_day=settings.tiles_per_day,
                patience=self._patience,
                clock=self._clock,
            ),
            patience=self._patience,
            not_before=not_before,
            clock=self._clock,
        )
