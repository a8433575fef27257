"""Builds the definitions of a city from its settings and its published plan."""

import dagster as dg

from citysplat_core.geography import load_plan
from citysplat_dagster.assets.backups import build_backups
from citysplat_dagster.assets.city import build_tiles
from citysplat_dagster.assets.features import build_features
from citysplat_dagster.assets.imagery import build_discovery, build_photos
from citysplat_dagster.assets.mapping import build_mapping
from citysplat_dagster.assets.matching import build_matches
from citysplat_dagster.assets.plan import build_plan
from citysplat_dagster.assets.splatting import build_splats
from citysplat_dagster.assets.weights import build_weights
from citysplat_dagster.box_rows import build_box_rows
from citysplat_dagster.jobs import build_jobs
from citysplat_dagster.partitions import partitions_of
from citysplat_dagster.resources import CityResource
from citysplat_dagster.schedules import build_schedules


def build_defs(city: CityResource) -> dg.Definitions:
    """Build the definitions of a city.

    Before the plan exists, only discovery and the plan itself are there: a city without boxes has
    no partitions to show. After ``box_plan`` is materialized, reload the code location.

    Args:
        city: The city; its ``plan.json`` defines the partitions.
    """
    settings = city.city.settings
    assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
        *build_discovery(settings),
        *build_plan(settings),
    ]
    partitions = None
    if (city.city.root / "plan.json").is_file():
        partitions = partitions_of(load_plan(city.city.root / "plan.json"))
        assets += [
            build_box_rows(partitions),
            *build_photos(settings, partitions),
            *build_weights(settings),
            *build_features(settings, partitions),
            *build_matches(settings, partitions),
            *build_mapping(settings, partitions),
            *build_splats(settings, partitions),
            *build_tiles(settings),
            *build_backups(settings, partitions),
        ]
    jobs = build_jobs(partitions)
    return dg.Definitions(
        assets=assets,
        jobs=jobs,
        schedules=build_schedules(settings, jobs[0]),
        resources={"city": city},
        executor=dg.in_process_executor,
    )
