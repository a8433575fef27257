"""Features of each box's own photos."""

import dagster as dg

from citysplat_core.features import extract_box_features
from citysplat_core.settings import CitySettings
from citysplat_dagster.partitions import Partitions
from citysplat_dagster.recipes import RECIPES
from citysplat_dagster.resources import CityResource
from citysplat_dagster.results import Result, result_of


def build_features(settings: CitySettings, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """Build the features of each box."""

    @dg.asset(
        group_name="features",
        partitions_def=partitions.boxes,
        deps=["box_images"],
        code_version=RECIPES["box_features"].code_version(settings),
    )
    def box_features(
        context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]
    ) -> Result:
        """Keypoints and descriptors of the photos whose home this box is."""
        box = context.partition_key
        images = city.need("box_images", box)
        made = city.produce(
            context,
            inputs={"box_images": images.version},
            build=lambda out, work, progress: extract_box_features(
                box,
                box_images=images.path,
                out=out,
                work=work,
                settings=city.city.settings.features,
                n_threads=city.threads,
                progress=progress,
                earlier=city.earlier("box_features", box),
            ),
        )
        return result_of(made)

    return [box_features]
