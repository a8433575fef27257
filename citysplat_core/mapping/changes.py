"""What is different in a box since a version of its model was made, photo by photo."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pycolmap
from numpy.typing import NDArray

from citysplat_core.mapping.lineage import Earlier, pairs_of
from citysplat_core.mapping.vouching import Partners
from citysplat_core.mapping.workspace import Workspace

_COMPARED: Final = 64
"""So many keypoints of a photo are compared; those of another file agree nowhere."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What has become of a box's photos and pairs since a version of it was made.

    Attributes:
        present: Photos that the box has now.
        new: Photos that the version did not know.
        stale: Photos of its models that have other keypoints or another camera now.
        lost: Photos of its models that have gone or are stale.
        candidates: Photos that may join: new and stale ones, and those without a place that have a
            verified pair with one of them: of all others nothing new is known.
        tied: Those of the new and stale photos that verified pairs tie to one that stays.
        pairs: Verified pairs now.
    """

    present: frozenset[int]
    new: frozenset[int]
    stale: frozenset[int]
    lost: frozenset[int]
    candidates: frozenset[int]
    tied: frozenset[int]
    pairs: frozenset[tuple[int, int]]


def find_change(
    earlier: Earlier, models: Mapping[int, pycolmap.Reconstruction], workspace: Workspace
) -> Change:
    """Compare a finished version with what the box has now.

    A photo stays in its model also if no pair of it is believed any more: what the model has made
    of the pairs of then is stronger evidence than the pairs are one by one.

    Args:
        earlier: The version.
        models: Its components by number.
        workspace: Photos, keypoints and pairs of now.
    """
    present = frozenset(workspace.images["colmap_id"].tolist())
    stale, lost = set[int](), set[int]()
    with pycolmap.Database.open(workspace.database) as database:
        held = {image.image_id: image for image in database.read_all_images()}
        for model in models.values():
            here = set(model.reg_image_ids())
            stale |= _stale(model, database, {i: held[i] for i in sorted(here & set(held))})
            lost |= here - set(held)
    new = present - set(earlier.images["colmap_id"].tolist())
    stay = earlier.registered - lost - stale
    pairs = pairs_of(workspace.partners)
    beside = {p for i in new | stale for p in workspace.partners.get(i, ())}
    candidates = new | stale | (beside - stay)
    tied = _reached(stay, present, workspace.partners) & (new | stale)
    return Change(
        present=present,
        new=new,
        stale=frozenset(stale),
        lost=frozenset(lost | stale),
        candidates=frozenset(candidates),
        tied=frozenset(tied),
        pairs=pairs,
    )


def _stale(
    model: pycolmap.Reconstruction,
    database: pycolmap.Database,
    rows: Mapping[int, pycolmap.Image],
) -> set[int]:
    """Find photos whose keypoints or camera are not those that a model was made of."""
    cameras = {camera.camera_id: camera for camera in database.read_all_cameras()}
    changed = set()
    for image_id, row in rows.items():
        image = model.image(image_id)
        if (row.camera_id, row.name) != (image.camera_id, image.name):
            changed.add(image_id)
            continue
        was, is_now = model.camera(image.camera_id), cameras[row.camera_id]
        kind = (was.model_name, was.width, was.height)
        same = kind == (is_now.model_name, is_now.width, is_now.height)
        if not same or not _has_keypoints(image, database.read_keypoints(image_id)):
            changed.add(image_id)
    return changed


def _has_keypoints(image: pycolmap.Image, found: NDArray[np.float32]) -> bool:
    """Compare the number of keypoints, and the places of some from all over the list."""
    if image.num_points2D() != len(found) or not len(found):
        return image.num_points2D() == len(found)
    rows = np.unique(np.linspace(0, len(found) - 1, _COMPARED).round().astype(int))
    given = np.array([image.point2D(int(row)).xy for row in rows])
    return np.array_equal(given, np.asarray(found, dtype=np.float64)[rows, :2])


def _reached(start: Collection[int], through: Collection[int], partners: Partners) -> set[int]:
    """Collect the photos that pairs tie to some, going only through certain others."""
    reached, edge = set(start), set(start)
    while edge:
        edge = {p for i in edge for p in partners.get(i, ()) if p in through} - reached
        reached |= edge
    return reached
