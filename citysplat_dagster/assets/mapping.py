"""One georegistered sparse model a box, and the alignment of all of them."""

import dagster as dg

from citysplat_core.mapping import align_city, solve_box
from citysplat_core.settings import CitySettings
from citysplat_dagster.inputs import fringe_members
from citysplat_dagster.model_checks import (
    CITY_CHECKS,
    MODEL_CHECKS,
    alignment_checks,
    model_checks,
)
from citysplat_dagster.partitions import Partitions
from citysplat_dagster.recipes import RECIPES
from citysplat_dagster.resources import CityResource
from citysplat_dagster.results import Result, result_of

GROUP = "mapping"


def build_mapping(settings: CitySettings, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """Build the sparse models and their alignment."""
    return [_sparse_models(settings, partitions), _alignment(settings)]


def _sparse_models(settings: CitySettings, partitions: Partitions) -> dg.AssetsDefinition:
    deps = [
        dg.AssetDep("box_images", partition_mapping=partitions.boxes_from_boxes),
        dg.AssetDep("box_matches", partition_mapping=partitions.boxes_from_boxes),
    ]
    if partitions.fringes is not None:
        deps.append(dg.AssetDep("fringe_matches", partition_mapping=partitions.boxes_from_fringes))

    @dg.asset(
        group_name=GROUP,
        partitions_def=partitions.boxes,
        deps=deps,
        code_version=RECIPES["sparse_model"].code_version(settings),
        check_specs=[dg.AssetCheckSpec(name, asset="sparse_model") for name in MODEL_CHECKS],
    )
    def sparse_model(
        context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]
    ) -> Result:
        """The box's reconstructions, scaled and placed by GPS in the city frame."""
        box = context.partition_key
        plan, matches = city.need("box_plan"), city.need("box_matches", box)
        # A neighbour that failed costs its fringe, not this box.
        fringes = [
            f
            for k in city.plan.fringes_of(box)
            if (f := city.find("fringe_matches", k)) is not None
        ]
        boxes = sorted({box, *(side for f in fringes for side in f.partition.split("--"))})
        images = {k: city.need("box_images", k) for k in boxes}
        around = {k: m for k in boxes if k != box and (m := city.find("box_matches", k))}
        made = city.produce(
            context,
            inputs={
                "members": fringe_members(plan.path, *(f.partition for f in fringes)),
                "box_matches": matches.version,
                **{f"matches {k}": a.version for k, a in around.items()},
                **{f"fringe {f.partition}": f.version for f in fringes},
                **{f"images {k}": a.version for k, a in images.items()},
            },
            build=lambda out, work, progress: solve_box(
                box,
                box_images={k: a.path for k, a in images.items()},
                box_matches=matches.path,
                neighbour_matches={k: a.path for k, a in around.items()},
                fringe_matches={f.partition: f.path for f in fringes},
                fringe_images=plan.path / "fringe_images.parquet",
                out=out,
                work=work,
                settings=city.city.settings.mapping,
                priors=city.city.settings.priors,
                plan_images=plan.path / "images.parquet",
                earlier=city.earlier("sparse_model", box),
                update=city.city.settings.update,
                version=RECIPES["sparse_model"].version,
                n_threads=city.threads,
                progress=progress,
            ),
        )
        return result_of(made, model_checks(made, city.city.settings.checks))

    return sparse_model


def _alignment(settings: CitySettings) -> dg.AssetsDefinition:
    @dg.asset(
        group_name=GROUP,
        deps=["sparse_model"],
        code_version=RECIPES["city_alignment"].code_version(settings),
        check_specs=[dg.AssetCheckSpec(name, asset="city_alignment") for name in CITY_CHECKS],
    )
    def city_alignment(
        context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]
    ) -> Result:
        """One transform a component, then each box adjusted with its fringes."""
        plan = city.need("box_plan")
        models = {
            b.key: m for b in city.plan.boxes if (m := city.find("sparse_model", b.key)) is not None
        }
        made = city.produce(
            context,
            inputs={"box_plan": plan.version, **{k: m.version for k, m in models.items()}},
            build=lambda out, work, progress: align_city(
                sparse_models={k: m.path for k, m in models.items()},
                plan_images=plan.path / "images.parquet",
                frame=city.city.frame(),
                out=out,
                work=work,
                settings=city.city.settings.align,
                n_threads=city.threads,
                progress=progress,
                earlier=city.earlier("city_alignment", ""),
            ),
        )
        return result_of(made, alignment_checks(made, city.city.settings.checks))

    return city_alignment
