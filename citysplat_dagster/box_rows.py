"""What a box reads of the city-wide tables, as an asset of its own: Dagster sees whom news reach.

Catalog and plan are one artifact for the whole city, so every box would look stale after any new
photo. ``box_rows`` has one data version a box, the hash of its own rows; the plan tells Dagster of
those that changed, and only the boxes (and what hangs on them) become stale.
"""

import json
from pathlib import Path

import dagster as dg

from citysplat_core.storage import digest_of, digests_by
from citysplat_dagster.inputs import box_tables
from citysplat_dagster.partitions import Partitions

ASSET = "box_rows"
_TOLD = "citysplat/box_rows"
_VERSION_TAG = "dagster/data_version"


def build_box_rows(partitions: Partitions) -> dg.AssetSpec:
    """Build the asset; nobody materializes it, the plan observes it."""
    return dg.AssetSpec(
        ASSET,
        group_name="plan",
        deps=["box_plan"],
        partitions_def=partitions.boxes,
        description="What plan and catalog say of the box's photos.",
    )


def box_versions(plan: Path) -> dict[str, str]:
    """Digest the rows of every box in one pass; the same as ``inputs.box_rows`` of each."""
    tables = [digests_by(table, "box") for table in box_tables(plan)]
    return {box: digest_of([table[box] for table in tables]) for box in sorted(tables[0])}


def tell_changes(context: dg.AssetExecutionContext, plan: Path) -> int:
    """Tell Dagster which boxes have other rows than when it was told last.

    Returns:
        How many have.
    """
    versions = box_versions(plan)
    storage = context.instance.daemon_cursor_storage
    told = json.loads(storage.get_cursor_values({_TOLD}).get(_TOLD, "{}"))
    changed = [box for box, version in versions.items() if told.get(box) != version]
    for box in changed:
        context.log_event(
            dg.AssetObservation(ASSET, partition=box, tags={_VERSION_TAG: versions[box]})
        )
    if changed or told.keys() - versions.keys():
        storage.set_cursor_values({_TOLD: json.dumps(versions)})
    context.log.info("%s of %s boxes have other photos than before", len(changed), len(versions))
    return len(changed)
