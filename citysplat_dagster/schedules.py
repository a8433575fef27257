"""Looking for new imagery from time to time; off until a user starts it."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from citysplat_core.settings import CitySettings


def build_schedules(
    settings: CitySettings,
    discover: UnresolvedAssetJobDefinition,
) -> list[dg.ScheduleDefinition]:
    """Build the re-fetch schedule: it reads every tile again and renews catalog and plan."""
    return [
        dg.ScheduleDefinition(
            name="refetch_imagery",
            job=discover,
            cron_schedule=settings.schedule.refetch_cron,
            execution_timezone="UTC",
            run_config={"ops": {"tile_ledger": {"config": {"refetch": True}}}},
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Reads every tile of the area again; new photos make their boxes stale.",
        )
    ]
