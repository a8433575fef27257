"""Mapillary as an image source."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from citysplat_core.errors import StorageError
from citysplat_core.geography import Area
from citysplat_core.imagery.mapillary.describing import Describer, one_run_at_a_time
from citysplat_core.imagery.mapillary.detections import DetectionFetcher, DetectionStore, Said
from citysplat_core.imagery.mapillary.entities import described_table
from citysplat_core.imagery.mapillary.entity_store import EntityStore, Freshness
from citysplat_core.imagery.mapillary.graph import GraphClient
from citysplat_core.imagery.mapillary.graph_pace import MachinePace
from citysplat_core.imagery.mapillary.http import Http, run_async
from citysplat_core.imagery.mapillary.images import PhotoFetcher
from citysplat_core.imagery.mapillary.limits import Clock
from citysplat_core.imagery.mapillary.policy import Patience
from citysplat_core.imagery.mapillary.rounded import repair_ids
from citysplat_core.imagery.mapillary.tile_budget import TileBudget
from citysplat_core.imagery.mapillary.tile_cache import TileCache
from citysplat_core.imagery.mapillary.tiles import TILE_SET, TileFetcher, TileResult, tile_row
from citysplat_core.imagery.photo_store import PhotoStore
from citysplat_core.imagery.source import Discovery, PhotoRequest, PhotoResult, SourceName, fetched
from citysplat_core.imagery.tables import (
    DESCRIBED_SCHEMA,
    FOUND_SCHEMA,
    TILES_SCHEMA,
    slices_of,
    table_of,
)
from citysplat_core.imagery.tile_merge import unique_by_id
from citysplat_core.imagery.token import Token
from citysplat_core.settings import SourceSettings
from citysplat_core.storage import Progress, read_json, write_json

_ROWS_AT_ONCE = 5000
_METADATA_AT_ONCE = 8


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
        return run_async(self._discover(area, self._not_before(work, refresh=refresh), progress))

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
        clipped = [_inside(repaired.results[a].images, area) for a in sorted(repaired.results)]
        return Discovery(
            tiles=table_of(rows, TILES_SCHEMA),
            found=unique_by_id(pa.concat_tables([FOUND_SCHEMA.empty_table(), *clipped])),
            notes=repaired.notes,
            stopped=stopped,
        )

    def describe(self, found: pa.Table, *, work: Path, progress: Progress) -> pa.Table:
        """Return the metadata of the images; see ``ImageSource.describe``."""
        ledger = self._folder / "metadata.sqlite"
        fresh = self._freshness(work)
        with one_run_at_a_time(ledger, progress, found.num_rows):
            run_async(self._describe(found, ledger, fresh, progress))
        with EntityStore(ledger) as store:
            parts = [
                described_table(part, store.read(part.column("image_id").to_pylist()))
                for part in slices_of(found, _ROWS_AT_ONCE)
            ]
        return pa.concat_tables([DESCRIBED_SCHEMA.empty_table(), *parts])

    async def _describe(
        self, found: pa.Table, ledger: Path, fresh: Freshness, progress: Progress
    ) -> None:
        with EntityStore(ledger) as store:
            async with self._http() as http:
                graph = self._graph(http)
                describer = Describer(
                    graph=graph,
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
        results: dict[str, PhotoResult] = {}
        for request in wanted:
            photo = store.find(request.image_id, size_px)
            if photo is not None:
                results[request.image_id] = fetched(request.image_id, photo)
        missing = [r.image_id for r in wanted if r.image_id not in results]
        store.require_space(len(missing), size_px)
        progress(len(results), len(wanted), "photos")

        def done(result: PhotoResult) -> None:
            results[result.image_id] = result
            progress(len(results), len(wanted), "photos")

        if missing:
            try:
                run_async(self._fetch_photos(missing, store, size_px, n_threads, done))
            except StorageError as error:
                kept = sum(result.state == "ok" for result in results.values())
                seen = f"{error.seen}; {kept} of {len(wanted)} photos are kept"
                raise StorageError(seen, expected=error.expected, fix=error.fix) from error
        return [results[request.image_id] for request in wanted]

    async def _fetch_photos(
        self,
        ids: list[str],
        store: PhotoStore,
        size_px: int,
        n_threads: int,
        done: Callable[[PhotoResult], None],
    ) -> None:
        with ThreadPoolExecutor(max_workers=max(1, n_threads)) as executor:
            async with self._http() as http:
                fetcher = PhotoFetcher(
                    http=http,
                    graph=self._graph(http),
                    store=store,
                    size_px=size_px,
                    connections=self._settings.connections,
                    executor=executor,
                    patience=self._patience,
                    clock=self._clock,
                )
                await fetcher.fetch_all(ids, done)

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

    def _http(self) -> Http:
        return Http(self._token, self._settings.connections, self._settings.read_timeout_s)

    def _graph(self, http: Http) -> GraphClient:
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

    def _tile_fetcher(self, http: Http, not_before: float) -> TileFetcher:
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

    def _not_before(self, work: Path, *, refresh: bool = False) -> float:
        """Return the oldest answer that this run may use, the same before and after a kill."""
        started_at = self._started_at(work)
        return started_at if refresh else started_at - self._settings.max_age_hours * 3600.0

    def _freshness(self, work: Path) -> Freshness:
        """Return which metadata this run may use, the same before and after a kill."""
        started_at = self._started_at(work)
        return Freshness(
            known_after=started_at - self._settings.metadata_max_age_days * 86_400.0,
            gone_after=started_at - self._settings.max_age_hours * 3600.0,
            started_at=started_at,
            now=self._clock(),
        )

    def _started_at(self, work: Path) -> float:
        path = work / "started.json"
        if not path.is_file():
            work.mkdir(parents=True, exist_ok=True)
            write_json(path, {"started_at": self._clock()})
        return float(read_json(path)["started_at"])


def _inside(images: pa.Table, area: Area) -> pa.Table:
    inside = area.contains(images.column("lon").to_numpy(), images.column("lat").to_numpy())
    return images.filter(pa.array(inside))
