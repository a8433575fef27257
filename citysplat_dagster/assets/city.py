"""The finished city: owned Gaussians, the viewer, the map."""

from collections.abc import Mapping

import dagster as dg

from citysplat_core.city import BoxInputs, BoxState, build_city
from citysplat_core.settings import CitySettings
from citysplat_core.storage import digest_of, read_failures
from citysplat_dagster.recipes import RECIPES
from citysplat_dagster.resources import CityResource
from citysplat_dagster.results import Result, result_of


def build_tiles(settings: CitySettings) -> list[dg.AssetsDefinition]:
    """Build the published city."""

    @dg.asset(
        group_name="city",
        deps=["splat", "city_alignment", "box_plan"],
        code_version=RECIPES["city_tiles"].code_version(settings),
    )
    def city_tiles(
        context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]
    ) -> Result:
        """The city as a static page: map, splats, cameras, attribution."""
        plan, alignment = city.need("box_plan"), city.find("city_alignment")
        failed = {f.partition: f.message for f in read_failures(city.city.root)}
        boxes = {b.key: _inputs_of(city, b.key, failed) for b in city.plan.boxes}
        versions = {
            f"{asset} {b.key}": a.version
            for b in city.plan.boxes
            for asset in ("splat", "sparse_model", "box_images")
            if (a := city.find(asset, b.key)) is not None
        }
        made = city.produce(
            context,
            inputs={
                "box_plan": plan.version,
                "city_alignment": alignment.version if alignment else "",
                "states": digest_of([[b.key, b.state, b.reason] for b in boxes.values()]),
                **versions,
            },
            build=lambda out, work, progress: build_city(
                plan=plan.path,
                boxes=boxes,
                alignment=alignment.path if alignment else None,
                frame=city.city.frame(),
                out=out,
                work=work,
                settings=city.city.settings.tiles,
                progress=progress,
            ),
        )
        return result_of(made)

    return [city_tiles]


def _inputs_of(city: CityResource, box: str, failed: Mapping[str, str]) -> BoxInputs:
    splat, model = city.find("splat", box), city.find("sparse_model", box)
    images = city.find("box_images", box)
    state: BoxState
    if splat is None and box in failed:
        state, reason = "failed", failed[box]
    elif splat is None:
        state, reason = "missing", "no splat yet: see `citysplat status`"
    elif splat.skipped:
        state, reason = "skipped", splat.skipped
    else:
        state, reason = "done", ""
    return BoxInputs(
        key=box,
        state=state,
        reason=reason,
        splat=splat.path if splat and not splat.skipped else None,
        sparse_model=model.path if model else None,
        box_images=images.path if images else None,
    )
