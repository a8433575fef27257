"""Verified pairs inside boxes and across their borders."""

import dagster as dg

from citysplat_core.matching import match_box, match_fringe
from citysplat_core.settings import CitySettings
from citysplat_dagster.checks import pair_checks
from citysplat_dagster.descriptors import drop_used_descriptors, matchable
from citysplat_dagster.inputs import fringe_members
from citysplat_dagster.match_report import (
    PHOTOS_CONNECTED,
    VERIFIED_RATE,
    connection_checks,
    pair_tables,
    rate_checks,
)
from citysplat_dagster.partitions import Partitions
from citysplat_dagster.recipes import RECIPES
from citysplat_dagster.resources import CityResource
from citysplat_dagster.results import Result, result_of

GROUP = "matching"


def build_matches(settings: CitySettings, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """Build the pairs inside boxes and, where boxes touch, across fringes."""
    inside = _inside_boxes(settings, partitions)
    return [inside] if partitions.fringes is None else [inside, _across(settings, partitions)]


def _inside_boxes(settings: CitySettings, partitions: Partitions) -> dg.AssetsDefinition:
    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.boxes,
        deps=["box_images", "box_features"],
        code_version=RECIPES["box_matches"].code_version(settings),
        check_specs=[
            dg.AssetCheckSpec(name, asset="box_matches")
            for name in ("pairs_verified", VERIFIED_RATE, PHOTOS_CONNECTED)
        ],
    )
    def box_matches(
        context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]
    ) -> Result:
        """Verified pairs inside the box."""
        box = context.partition_key
        images, features = city.need("box_images", box), city.need("box_features", box)
        made = city.produce(
            context,
            inputs={"box_images": images.version, "box_features": features.version},
            build=lambda out, work, progress: match_box(
                box,
                box_images=images.path,
                box_features=matchable(city, features, images, work, progress),
                out=out,
                work=work,
                settings=city.city.settings.matching,
                n_threads=city.threads,
                progress=progress,
                earlier=city.earlier("box_matches", box),
            ),
        )
        drop_used_descriptors(city, [box])
        floors = city.city.settings.checks
        checks = [*rate_checks(made, floors), *connection_checks(made, floors)]
        return result_of(made, [*pair_checks(made), *checks], pair_tables(made))

    return box_matches


def _across(settings: CitySettings, partitions: Partitions) -> dg.AssetsDefinition:
    from_boxes = partitions.fringes_from_boxes

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.fringes,
        deps=[
            dg.AssetDep("box_images", partition_mapping=from_boxes),
            dg.AssetDep("box_features", partition_mapping=from_boxes),
            dg.AssetDep("box_matches", partition_mapping=from_boxes),
        ],
        code_version=RECIPES["fringe_matches"].code_version(settings),
        check_specs=[
            dg.AssetCheckSpec(name, asset="fringe_matches")
            for name in ("pairs_verified", VERIFIED_RATE)
        ],
    )
    def fringe_matches(
        context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]
    ) -> Result:
        """Verified pairs across the border of two boxes."""
        fringe = context.partition_key
        sides = fringe.split("--")
        images = [city.need("box_images", box) for box in sides]
        features = [city.need("box_features", box) for box in sides]
        matches = [city.need("box_matches", box) for box in sides]
        plan = city.need("box_plan")
        made = city.produce(
            context,
            inputs={
                "members": fringe_members(plan.path, fringe),
                **{f"images {a.partition}": a.version for a in images},
                **{f"features {a.partition}": a.version for a in features},
                **{f"matches {a.partition}": a.version for a in matches},
            },
            build=lambda out, work, progress: match_fringe(
                fringe,
                images_a=images[0].path,
                images_b=images[1].path,
                features_a=matchable(city, features[0], images[0], work, progress),
                features_b=matchable(city, features[1], images[1], work, progress),
                fringe_images=plan.path / "fringe_images.parquet",
                out=out,
                work=work,
                settings=city.city.settings.matching,
                n_threads=city.threads,
                progress=progress,
                earlier=city.earlier("fringe_matches", fringe),
                matches=[artifact.path for artifact in matches],
            ),
        )
        drop_used_descriptors(city, sides)
        checks = [*pair_checks(made), *rate_checks(made, city.city.settings.checks)]
        return result_of(made, checks, pair_tables(made))

    return fringe_matches
