"""Copies of a box's finished artifacts in an S3 bucket."""

from dataclasses import asdict

import dagster as dg

from citysplat_core.settings import CitySettings
from citysplat_core.storage import digest_of
from citysplat_core.storage.backup import backup_artifacts
from citysplat_dagster.partitions import Partitions
from citysplat_dagster.recipes import RECIPES
from citysplat_dagster.resources import CityResource, bucket_of
from citysplat_dagster.results import Result

BOX_ASSETS = ("box_images", "box_features", "box_matches", "sparse_model", "splat")
CITY_ASSETS = (
    "tile_ledger", "image_catalog", "box_plan", "model_weights", "city_alignment", "city_tiles",
)  # fmt: skip


def build_backups(settings: CitySettings, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """Build the backup of each box."""

    @dg.asset(
        group_name="backups",
        partitions_def=partitions.boxes,
        deps=["splat"],
        code_version=RECIPES["backup"].code_version(settings),
    )
    def backup(context: dg.AssetExecutionContext, city: dg.ResourceParam[CityResource]) -> Result:
        """The box's artifacts, its fringes' and the city's tables, verified in the bucket."""
        box = context.partition_key
        wanted = [
            *((asset, box) for asset in BOX_ASSETS),
            *(("fringe_matches", key) for key in city.plan.fringes_of(box)),
            *((asset, "") for asset in CITY_ASSETS),
        ]
        found = [a for asset, key in wanted if (a := city.find(asset, key)) is not None]
        counts = backup_artifacts(found, bucket_of(city.city), progress=city.progress(context))
        return dg.MaterializeResult(
            data_version=dg.DataVersion(digest_of([a.fingerprint for a in found])),
            metadata={"bucket": city.city.settings.backup.bucket, **asdict(counts)},
        )

    return [backup]
