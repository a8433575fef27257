"""Named jobs: what the command line runs in order, and what a user finds in the UI."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from citysplat_dagster.partitions import Partitions

Scope = Literal["city", "box", "fringe"]


@dataclass(frozen=True)
class Stage:
    """One job.

    Attributes:
        job: Its name.
        scope: What one run of it covers.
        assets: The assets that it makes, in order.
    """

    job: str
    scope: Scope
    assets: tuple[str, ...]


STAGES: Mapping[str, Stage] = {
    stage.job: stage
    for stage in (
        Stage("discover_city", "city", ("tile_ledger", "image_catalog", "box_plan")),
        Stage("bring_weights", "city", ("model_weights",)),
        Stage("prepare_box", "box", ("box_images", "box_features", "box_matches")),
        Stage("match_fringe", "fringe", ("fringe_matches",)),
        Stage("solve_box", "box", ("sparse_model",)),
        Stage("align_city", "city", ("city_alignment",)),
        Stage("train_box", "box", ("splat",)),
        Stage("publish_city", "city", ("city_tiles",)),
        Stage("backup_box", "box", ("backup",)),
    )
}
"""All jobs in the order of the flow."""


def build_jobs(
    partitions: Partitions | None,
) -> list[UnresolvedAssetJobDefinition]:
    """Define the jobs that the plan allows; before there is a plan, only discovery."""
    return [
        dg.define_asset_job(stage.job, selection=list(stage.assets))
        for stage in STAGES.values()
        if _is_possible(stage, partitions)
    ]


def _is_possible(stage: Stage, partitions: Partitions | None) -> bool:
    if partitions is None:
        return stage.job == "discover_city"
    return stage.scope != "fringe" or partitions.fringes is not None
