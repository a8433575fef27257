"""Discovery, metadata and photos."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from citysplat_core.imagery import (
    IdentityRegistry,
    build_catalog,
    discover_images,
    fetch_box_images,
)
from citysplat_core.settings import CitySettings
from citysplat_core.storage import Artifact, Progress, StepReport, digest_of, digest_of_table
from citysplat_dagster.checks import catalog_checks, coverage_checks, photo_checks
from citysplat_dagster.coverage import tile_table
from citysplat_dagster.inputs import box_rows, file_version, mask_model_of
from citysplat_dagster.partitions import Partitions
from citysplat_dagster.recipes import RECIPES
from citysplat_dagster.resources import CityResource
from citysplat_dagster.results import Result, result_of

GROUP = "imagery"


class RefetchConfig(dg.Config):
    """How much of what is known is asked again."""

    refetch: bool = False
    """Read every tile again and look for new and removed photos."""


def build_discovery(settings: CitySettings) -> list[dg.AssetsDefinition]:
    """Build the city-wide assets that come before the plan."""

    @dg.asset(
        group_name=GROUP,
        code_version=RECIPES["tile_ledger"].code_version(settings),
        check_specs=[dg.AssetCheckSpec("coverage_complete", asset="tile_ledger", blocking=True)],
    )
    def tile_ledger(
        context: dg.AssetExecutionContext,
        config: RefetchConfig,
        city: dg.ResourceParam[CityResource],
    ) -> Result:
        """Every tile of the area with its state: the proof that no photo is silently missing."""
        current = city.find("tile_ledger")
        as_of = _as_of(current, refetch=config.refetch)

        def build(out: Path, work: Path, progress: Progress) -> StepReport:
            report = discover_images(
                city.city.area(),
                source=city.source(),
                ledger=city.ledger(),
                out=out,
                work=work,
                refresh=config.refetch,
                previous=current.path if current is not None else None,
                progress=progress,
            )
            return _with_digest(report, out / "found.parquet", out / "gone.parquet")

        inputs = {"area": _area_digest(city), "as_of": as_of}
        made = city.produce(context, inputs=inputs, build=build)
        return result_of(made, coverage_checks(made), tile_table(made))

    @dg.asset(
        group_name=GROUP,
        deps=[tile_ledger],
        code_version=RECIPES["image_catalog"].code_version(settings),
        check_specs=[dg.AssetCheckSpec("positions_valid", asset="image_catalog", blocking=True)],
    )
    def image_catalog(
        context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]
    ) -> Result:
        """One row a photo: positions, times, cameras and status, as GeoParquet."""
        ledger = city.need("tile_ledger")

        def build(out: Path, work: Path, progress: Progress) -> StepReport:
            report = build_catalog(
                ledger.path,
                source=city.source(),
                registry=IdentityRegistry(city.city.root / "identity.sqlite"),
                panoramas=city.city.settings.panoramas,
                out=out,
                work=work,
                progress=progress,
            )
            return _with_digest(report, out / "catalog.parquet", out / "scores.parquet")

        inputs = {"tile_ledger": ledger.version} | _retry_of(city.find("image_catalog"))
        made = city.produce(context, inputs=inputs, build=build)
        return result_of(made, catalog_checks(made))

    return [tile_ledger, image_catalog]


def build_photos(settings: CitySettings, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """Build the photos of each box."""

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.boxes,
        deps=["box_rows"],
        code_version=RECIPES["box_images"].code_version(settings),
        check_specs=[
            dg.AssetCheckSpec("photos_usable", asset="box_images"),
            dg.AssetCheckSpec("photos_fetched", asset="box_images"),
        ],
    )
    def box_images(
        context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]
    ) -> Result:
        """The box's photos on disk, checked, with quality scores, cameras and masks."""
        box = context.partition_key
        plan, catalog = city.need("box_plan"), city.need("image_catalog")
        mask_model = mask_model_of(city.city)

        def build(out: Path, work: Path, progress: Progress) -> StepReport:
            return fetch_box_images(
                box,
                plan_images=plan.path / "images.parquet",
                catalog=catalog.path,
                source=city.source(),
                photo_cache=city.cache / "photos",
                frame=city.city.frame(),
                out=out,
                work=work,
                settings=city.city.settings.photos,
                panoramas=city.city.settings.panoramas,
                masks=city.city.settings.masks,
                mask_model=mask_model,
                n_threads=city.threads,
                progress=progress,
            )

        inputs = {"rows": box_rows(box, plan.path), **file_version("mask_model", mask_model)}
        inputs |= _fetch_again(city.find("box_images", box))
        made = city.produce(context, inputs=inputs, build=build)
        return result_of(made, photo_checks(made))

    return [box_images]


_FIRST = "first"


def _as_of(current: Artifact | None, *, refetch: bool) -> str:
    """Say which look at the source is wanted: the last one, or a new one.

    A ledger with failed or unknown tiles is never the last word: the next run asks those again.
    """
    if current is None:
        return _FIRST
    open_tiles = sum(int(current.counts.get(f"tiles_{s}", 0)) for s in ("failed", "unknown"))
    if refetch or open_tiles:
        return datetime.now(UTC).isoformat(timespec="seconds")
    return str(current.manifest["inputs"]["as_of"])


def _retry_of(current: Artifact | None) -> dict[str, str]:
    """Say that images whose description failed are asked for again, once a day at most.

    The ledger of metadata keeps what was answered, so that only those are asked for.
    """
    if current is None:
        return {}
    if int(current.counts.get("failed_to_retry", 0)):
        return {"as_of": datetime.now(UTC).date().isoformat()}
    return {k: v for k, v in current.manifest["inputs"].items() if k == "as_of"}


def _fetch_again(current: Artifact | None) -> dict[str, str]:
    """Say that photos which failed are asked for again by the next run.

    The photo cache keeps the others, and what hangs on the box stays as it is if they fail again.
    """
    if current is None:
        return {}
    if int(current.counts.get("failed_to_retry", 0)):
        return {"as_of": datetime.now(UTC).isoformat(timespec="seconds")}
    return {k: v for k, v in current.manifest["inputs"].items() if k == "as_of"}


def _area_digest(city: CityResource) -> str:
    return digest_of(city.city.area().to_geojson())


def _with_digest(report: StepReport, *tables: Path) -> StepReport:
    times = ("fetched_at", "first_seen", "last_seen", "gone_at")
    digest = digest_of([digest_of_table(table, without=(*times, "geometry")) for table in tables])
    return replace(report, counts={**report.counts, "content_digest": digest})
