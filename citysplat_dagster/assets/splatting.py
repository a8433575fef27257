"""One trained splat a box."""

import dagster as dg

from citysplat_core.geography.plan_boxes import bounds_enu
from citysplat_core.settings import CitySettings
from citysplat_dagster.checks import splat_checks
from citysplat_dagster.inputs import placement
from citysplat_dagster.partitions import Partitions
from citysplat_dagster.recipes import RECIPES
from citysplat_dagster.resources import CityResource
from citysplat_dagster.results import Result, result_of


def build_splats(settings: CitySettings, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """Build the splats."""

    @dg.asset(
        group_name="splatting",
        partitions_def=partitions.boxes,
        deps=[
            "sparse_model",
            "city_alignment",
            dg.AssetDep("box_images", partition_mapping=partitions.boxes_from_boxes),
        ],
        code_version=RECIPES["splat"].code_version(settings),
        pool="gpu",
        check_specs=[dg.AssetCheckSpec("held_out_views", asset="splat")],
    )
    def splat(context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]) -> Result:
        """The box's Gaussians, trained on its photos, with held-out quality."""
        from citysplat_core.splatting import train_box  # torch: only for those who train

        box = context.partition_key
        model, alignment = city.need("sparse_model", box), city.need("city_alignment")
        around = [box, *city.plan.neighbours_of(box)]
        images = {k: a for k in around if (a := city.find("box_images", k)) is not None}
        made = city.produce(
            context,
            inputs={
                "sparse_model": model.version,
                "placement": placement(alignment.path, box),
                **{f"images {k}": a.version for k, a in images.items()},
            },
            build=lambda out, work, progress: train_box(
                box,
                sparse_model=model.path,
                alignment=alignment.path,
                box_images={k: a.path for k, a in images.items()},
                box_bounds_enu=bounds_enu(box, city.city.frame()),
                out=out,
                work=work,
                settings=city.city.settings.splat,
                n_threads=city.threads,
                progress=progress,
            ),
        )
        return result_of(made, splat_checks(made))

    return [splat]
