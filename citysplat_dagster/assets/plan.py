"""The box plan, which is the partition definition of all that follows."""

import shutil
from dataclasses import replace
from pathlib import Path

import dagster as dg

from citysplat_core.geography import load_plan
from citysplat_core.geography.plan_boxes import plan_boxes
from citysplat_core.settings import CitySettings
from citysplat_core.storage import (
    Progress,
    StepReport,
    digest_of,
    digest_of_table,
    published,
)
from citysplat_dagster.box_rows import tell_changes
from citysplat_dagster.recipes import RECIPES
from citysplat_dagster.resources import CityResource
from citysplat_dagster.results import Result, result_of


def build_plan(settings: CitySettings) -> list[dg.AssetsDefinition]:
    """Build the plan's asset."""

    @dg.asset(
        group_name="plan",
        deps=["image_catalog"],
        code_version=RECIPES["box_plan"].code_version(settings),
    )
    def box_plan(context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]) -> Result:
        """The boxes and fringes of the city; reload the code location to see new ones."""
        catalog = city.need("image_catalog")

        def build(out: Path, work: Path, progress: Progress) -> StepReport:
            del work
            report = plan_boxes(
                catalog.path,
                city=city.city.settings.name,
                frame=city.city.frame(),
                out=out,
                settings=city.city.settings.boxes,
                progress=progress,
            )
            tables = [out / "images.parquet", out / "fringe_images.parquet"]
            digest = digest_of([load_plan(out / "plan.json").digest, *map(digest_of_table, tables)])
            return replace(report, counts={**report.counts, "content_digest": digest})

        made = city.produce(context, inputs={"image_catalog": catalog.version}, build=build)
        _publish(made.path / "plan.json", city.city.root / "plan.json", context)
        changed = tell_changes(context, made.path)
        return result_of(made, more={"boxes_with_other_photos": changed})

    return [box_plan]


def _publish(plan: Path, target: Path, context: dg.AssetExecutionContext) -> None:
    """Make this plan the one that defines the partitions."""
    if target.is_file() and target.read_bytes() == plan.read_bytes():
        return
    with plan.open("rb") as source, published(target) as stream:
        shutil.copyfileobj(source, stream)
    context.log.info("The plan changed: reload the code location to see its boxes and fringes.")
