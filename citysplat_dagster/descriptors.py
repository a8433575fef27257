"""When descriptors may go, and how a later matching gets them back."""

from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from citysplat_core.features import DROPPED, drop_descriptors, restore_descriptors
from citysplat_core.storage import Artifact, Progress
from citysplat_dagster.resources import CityResource


def matchable(
    city: CityResource, features: Artifact, images: Artifact, work: Path, progress: Progress
) -> Path:
    """Give a box's features with descriptors: the artifact, or an extraction of the same again.

    Args:
        city: The city.
        features: The box's ``box_features``.
        images: The box's ``box_images``.
        work: Folder of the matching step.
        progress: Told about a new extraction.
    """
    if DROPPED not in features.counts:
        return features.path
    return restore_descriptors(
        features.partition,
        box_features=features.path,
        box_images=images.path,
        work=work,
        settings=city.city.settings.features,
        n_threads=city.threads,
        progress=progress,
    )


def drop_used_descriptors(city: CityResource, boxes: Iterable[str]) -> None:
    """Drop the descriptors of boxes that are matched on all sides, if the settings say so.

    Args:
        city: The city.
        boxes: Boxes that a matching step has just used.
    """
    if city.city.settings.features.keep_descriptors:
        return
    for box in boxes:
        features = city.find("box_features", box)
        if features is None or not _is_matched(city, features):
            continue
        with FileLock(city.store.home("box_features", box) / ".lock"):
            drop_descriptors(features.path)


def _is_matched(city: CityResource, features: Artifact) -> bool:
    """Say whether the box's own pairs and those of all its fringes are made of these features."""
    box = features.partition
    users = [(city.find("box_matches", box), "box_features")]
    users += [
        (city.find("fringe_matches", key), f"features {box}") for key in city.plan.fringes_of(box)
    ]
    return all(
        user is not None and user.manifest["inputs"].get(name) == features.version
        for user, name in users
    )
