"""What is different in a box since a version of its model was made, photo by photo."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pycolmap

from citysplat_core.mapping.lineage import Earlier, pairs_of
from citysplat_core.mapping.vouching import Partners
from citysplat_core.mapping.workspace import Workspace, reach


@dataclass(frozen=True, kw_only=True)
class Change:
    """What has become of a box's photos and pairs since a version of it was made.

    Attributes:
        present: Photos that the box has now.
        new: Photos that the version did not know.
        stale: Photos of its models that have other keypoints or another camera now.
        lost: Photos of its models that have gone, are stale, or have no pair with the rest of their
            component any more.
        candidates: Photos that may join: new and stale ones, and those without a place that
            verified pairs tie to them.
        tied: Those of the new and stale photos that verified pairs tie to one that stays.
        pairs: Verified pairs now.
        split: Why a component does not hang together any more; empty if all do.
    """

    present: frozenset[int]
    new: frozenset[int]
    stale: frozenset[int]
    lost: frozenset[int]
    candidates: frozenset[int]
    tied: frozenset[int]
    pairs: frozenset[tuple[int, int]]
    split: str


def find_change(
    earlier: Earlier,
    models: Mapping[int, pycolmap.Reconstruction],
    workspace: Workspace,
    *,
    min_model_size: int,
) -> Change:
    """Compare a finished version with what the box has now.

    Args:
        earlier: The version.
        models: Its components by number.
        workspace: Photos, keypoints and pairs of now.
        min_model_size: A part of a component with so many photos is no loss but a split.
    """
    present = frozenset(workspace.images["colmap_id"].tolist())
    known = set(earlier.images["colmap_id"].tolist())
    stale, lost, split = set[int](), set[int](), ""
    with pycolmap.Database.open(workspace.database) as database:
        for number, model in models.items():
            here = set(model.reg_image_ids())
            changed = _stale(model, database, here & present)
            parts = groups_of(here & present - changed, workspace.partners)
            stale |= changed
            lost |= here - (parts[0] if parts else set())
            if len(parts) > 1 and len(parts[1]) >= min_model_size:
                split = split or _describe_split(number, parts)
    new = present - known
    unplaced = present - (earlier.registered - lost)
    candidates = _reached(new | stale, unplaced, workspace.partners)
    stay = earlier.registered - lost
    tied = _reached(stay, present, workspace.partners) & (new | stale)
    return Change(
        present=present,
        new=new,
        stale=frozenset(stale),
        lost=frozenset(lost),
        candidates=frozenset(candidates),
        tied=frozenset(tied),
        pairs=pairs_of(workspace.partners),
        split=split,
    )


def _stale(model: pycolmap.Reconstruction, database: pycolmap.Database, ids: set[int]) -> set[int]:
    """Find photos whose keypoints or camera are not those that a model was made of."""
    cameras = {camera.camera_id: camera for camera in database.read_all_cameras()}
    names = {image.image_id: image for image in database.read_all_images()}
    changed = set()
    for image_id in sorted(ids):
        image, row = model.image(image_id), names.get(image_id)
        if row is None or row.camera_id != image.camera_id:
            changed.add(image_id)
            continue
        was, is_now = model.camera(image.camera_id), cameras[row.camera_id]
        kind = (was.model_name, was.width, was.height)
        same = kind == (is_now.model_name, is_now.width, is_now.height) and image.name == row.name
        given = np.array([point.xy for point in image.points2D]).reshape(-1, 2)
        found = np.asarray(database.read_keypoints(image_id), dtype=np.float64)[:, :2]
        if not same or not np.array_equal(given, found):
            changed.add(image_id)
    return changed


def _describe_split(number: int, parts: list[set[int]]) -> str:
    sizes = " and ".join(str(len(part)) for part in parts[:2])
    return f"no pair joins parts of {sizes} photos of component {number} any more"


def groups_of(ids: Collection[int], partners: Partners) -> list[set[int]]:
    """Split photos into groups that hang together by pairs inside the group, the largest first."""
    inside = {i: [p for p in partners.get(i, ()) if p in ids] for i in sorted(ids)}
    left, groups = set(ids), []
    while left:
        groups.append(reach(min(left), inside))
        left -= groups[-1]
    return sorted(groups, key=lambda group: (-len(group), min(group)))


def _reached(start: Collection[int], through: Collection[int], partners: Partners) -> set[int]:
    """Collect the photos that pairs tie to some, going only through certain others."""
    reached, edge = set(start), set(start)
    while edge:
        edge = {p for i in edge for p in partners.get(i, ()) if p in through} - reached
        reached |= edge
    return reached
