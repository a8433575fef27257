"""Parts of a workspace: photos that hang together, and a workspace of some photos only."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from citysplat_core.features import merge_databases
from citysplat_core.mapping.vouching import Partners
from citysplat_core.mapping.workspace import Workspace, reach


def groups_of(ids: Collection[int], partners: Partners) -> list[set[int]]:
    """Split photos into groups that hang together by pairs inside the group, the largest first."""
    inside = {i: [p for p in partners.get(i, ()) if p in ids] for i in sorted(ids)}
    left, groups = set(ids), []
    while left:
        groups.append(reach(min(left), inside))
        left -= groups[-1]
    return sorted(groups, key=lambda group: (-len(group), min(group)))


def part_of(workspace: Workspace, ids: Collection[int], database: Path) -> Workspace:
    """Give a workspace of some photos and the pairs between them.

    Args:
        workspace: The whole one; it is only read.
        ids: Colmap ids of the photos; all count as mappable.
        database: Where the part's database is made; a file that is there is replaced.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    database.unlink(missing_ok=True)
    merge_databases([workspace.database], database, keep_descriptors=False, image_ids=ids)
    chosen = frozenset(ids)
    mine = workspace.images["colmap_id"].isin(chosen)
    return replace(
        workspace,
        database=database,
        images=workspace.images[mine].reset_index(drop=True),
        positions={i: place for i, place in workspace.positions.items() if i in chosen},
        partners={
            i: [p for p in workspace.partners.get(i, ()) if p in chosen] for i in sorted(chosen)
        },
        mappable=chosen,
    )
