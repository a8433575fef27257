"""The city as a Dagster resource: its settings, its artifacts, and how a step is run."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg

from citysplat_core.errors import ConfigError, StorageError
from citysplat_core.geography import BoxPlan, load_plan
from citysplat_core.imagery import ImageSource, TileLedger, Token, open_source
from citysplat_core.settings import City, load_city
from citysplat_core.simulation.server import LOCAL_TOKEN
from citysplat_core.storage import (
    Artifact,
    ArtifactStore,
    Progress,
    StepReport,
    clear_failure,
    record_failure,
)
from citysplat_core.storage.object_store import ObjectStore
from citysplat_dagster.forebears import forebears
from citysplat_dagster.machine import machine_dir
from citysplat_dagster.rates import Rate
from citysplat_dagster.recipes import RECIPES

log = logging.getLogger(__name__)

CITY_VARIABLE = "CITYSPLAT_CITY"
THREADS_VARIABLE = "CITYSPLAT_THREADS"
TOKEN_VARIABLE = "MAPILLARY_TOKEN"  # noqa: S105 - a name
LOCAL_TOKEN_VARIABLE = "CITYSPLAT_LOCAL_TOKEN"  # noqa: S105 - a name
"""The token for a server on this machine; without it the one that is public by design."""

_LOG_EVERY_S = 10.0

Listener = Callable[[str, str, int, int, str], None]
"""Called with (asset, partition, done, total, note) by the steps of this process."""

_listeners: list[Listener] = []


def listen(listener: Listener) -> None:
    """Hear the progress of every step that runs in this process from now on."""
    _listeners.append(listener)


@dataclass(frozen=True)
class CityResource:
    """What an asset body needs of its city.

    Attributes:
        city: Settings and place on disk.
        threads: Threads that one step may use.
    """

    city: City
    threads: int

    @cached_property
    def store(self) -> ArtifactStore:
        """The city's artifacts."""
        return ArtifactStore(self.city.root)

    @cached_property
    def plan(self) -> BoxPlan:
        """The published plan."""
        return load_plan(self.city.root / "plan.json")

    @property
    def cache(self) -> Path:
        """Folder of what can be fetched again."""
        folder = self.city.root / "cache"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def source(self) -> ImageSource:
        """Open the source of photos.

        Raises:
            TokenError: It needs a token and there is none.
        """
        settings = self.city.settings.source
        return open_source(
            settings,
            self.city.root,
            token=self._token(),
            cache_dir=self.cache,
            machine_dir=machine_dir(),
        )

    def ledger(self) -> TileLedger:
        """Open the city's record of tiles for the source of the settings."""
        return TileLedger(self.city.root / "imagery.sqlite", self.city.settings.source.kind)

    def _token(self) -> Token | None:
        host = urlsplit(self.city.settings.source.graph_url).hostname or ""
        if host in ("127.0.0.1", "localhost"):
            value = os.environ.get(LOCAL_TOKEN_VARIABLE) or LOCAL_TOKEN
        else:
            value = os.environ.get(TOKEN_VARIABLE, "")
        return Token(value) if value else None

    def find(self, asset: str, partition: str = "") -> Artifact | None:
        """Give an artifact, or None if it has not been made."""
        return self.store.find(asset, partition)

    def need(self, asset: str, partition: str = "") -> Artifact:
        """Give an artifact that must be there."""
        return self.store.need(asset, partition)

    def earlier(self, asset: str, partition: str) -> Path | None:
        """Give the folder of the version in force while the next is made; None if there is none.

        A step takes results over from it. For a box that was cut out of a larger one, or a fringe
        between such, it is what the larger one had. A version that is damaged only costs that: it
        is said in the log, and everything is made anew.
        """
        for name, key in forebears(asset, partition):
            try:
                found = self.find(name, key)
            except StorageError as error:
                log.warning("Nothing is taken over from %s %s: %s", name, key, error)
                continue
            if found is not None:
                return found.path
        return None

    def produce(
        self,
        context: dg.AssetExecutionContext,
        *,
        inputs: Mapping[str, str],
        build: Callable[[Path, Path, Progress], StepReport],
    ) -> Artifact:
        """Make the artifact of the asset and partition that is running, unless it is there.

        Args:
            context: The asset's context.
            inputs: Versions of what it reads, by name.
            build: Called with (out, work, progress).
        """
        asset, partition = _name(context)
        recipe = RECIPES[asset]
        progress = self.progress(context)
        try:
            made = self.store.produce(
                asset,
                partition,
                step_version=recipe.version,
                settings=recipe.reads(self.city.settings),
                inputs=inputs,
                build=lambda out, work: build(out, work, progress),
            )
        except Exception as error:
            record_failure(self.city.root, asset, partition, error)
            raise
        clear_failure(self.city.root, asset, partition)
        state = "made" if made.was_made else "already made from the same recipe; nothing to do"
        context.log.info("%s %s %s: %s", asset, partition, made.fingerprint, state)
        return made

    def progress(self, context: dg.AssetExecutionContext) -> Progress:
        """Give a callback that tells listeners at once and the run's log every 10 seconds.

        Both get the note with the rate and the time left; what a step says before it begins goes
        into the log at once.
        """
        asset, partition = _name(context)
        rate = Rate()
        last = [time.monotonic()]
        announced = [""]

        def progress(done: int, total: int, note: str) -> None:
            told = rate.told(done, total, note)
            for listener in _listeners:
                listener(asset, partition, done, total, told)
            is_announcement = done == 0 and ":" in note and note != announced[0]
            if is_announcement:
                announced[0] = note
            if is_announcement or time.monotonic() - last[0] >= _LOG_EVERY_S:
                last[0] = time.monotonic()
                context.log.info("%s %s: %s of %s %s", asset, partition, done, total or "?", told)

        return progress


def _name(context: dg.AssetExecutionContext) -> tuple[str, str]:
    partition = context.partition_key if context.has_partition_key else ""
    return context.asset_key.to_user_string(), partition


def bucket_of(city: City) -> ObjectStore:
    """Open the bucket of a city's backups, with the keys of the environment.

    Raises:
        StorageError: No endpoint, bucket or key is set.
    """
    settings = city.settings.backup
    return ObjectStore(
        endpoint_url=settings.endpoint_url,
        bucket=settings.bucket,
        key_id=os.environ.get("CITYSPLAT_S3_KEY_ID", ""),
        secret=os.environ.get("CITYSPLAT_S3_SECRET", ""),
        prefix=settings.prefix or city.settings.name.replace(" ", "-"),
        region=settings.region,
    )


def city_from_environment() -> CityResource:
    """Open the city that ``CITYSPLAT_CITY`` names; the only place that reads it.

    Raises:
        ConfigError: The variable is not set, or the city file is wrong.
    """
    path = os.environ.get(CITY_VARIABLE)
    if not path:
        raise ConfigError(
            f"{CITY_VARIABLE} is not set",
            expected="the path of a city.toml",
            fix=f"Start Dagster with `citysplat dev FOLDER`, or export {CITY_VARIABLE}.",
        )
    threads = int(os.environ.get(THREADS_VARIABLE) or os.cpu_count() or 1)
    return CityResource(city=load_city(Path(path)), threads=threads)
