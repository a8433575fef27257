"""Weights of networks that are downloaded."""

import dagster as dg

from citysplat_core.features import collect_weights
from citysplat_core.settings import CitySettings
from citysplat_dagster.recipes import RECIPES
from citysplat_dagster.resources import CityResource
from citysplat_dagster.results import Result, result_of


def build_weights(settings: CitySettings) -> list[dg.AssetsDefinition]:
    """Build the city's files of weights."""

    @dg.asset(group_name="features", code_version=RECIPES["model_weights"].code_version(settings))
    def model_weights(
        context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]
    ) -> Result:
        """Files of the models that ``[weights]`` names, with verified hashes and licences."""
        made = city.produce(
            context,
            inputs={},
            build=lambda out, work, progress: collect_weights(
                root=city.city.root,
                folder=city.cache / "models",
                out=out,
                work=work,
                settings=city.city.settings.weights,
                n_threads=city.threads,
                progress=progress,
            ),
        )
        return result_of(made)

    return [model_weights]
