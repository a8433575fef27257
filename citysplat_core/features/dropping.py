"""Descriptors are needed for matching only: giving their space back, and making them again."""

import shutil
from pathlib import Path
from typing import Final

import pandas as pd

from citysplat_core.errors import FeatureError
from citysplat_core.features.database import stored_sizes
from citysplat_core.features.extract import extract_box_features
from citysplat_core.features.merging import merge_databases
from citysplat_core.settings import FeatureSettings
from citysplat_core.storage import Progress, read_json, sha256_of, write_json

DROPPED: Final = "descriptors_dropped"
"""Count in the manifest of a ``box_features`` without descriptors: the bytes that were freed."""


def drop_descriptors(box_features: Path) -> int:
    """Take the descriptors out of a finished ``box_features``; its name stays, its hashes follow.

    Killed in between, the next call finishes it. Nobody may be starting to match it meanwhile;
    who has it open goes on with the whole file.

    Args:
        box_features: Folder of the artifact.

    Returns:
        Bytes that were freed; 0 if it has none.

    Raises:
        StorageError: The database or manifest is damaged, or the disk is full.
    """
    manifest = read_json(box_features / "manifest.json")
    if DROPPED in manifest["counts"]:
        return 0
    database = box_features / "features.db"
    before = database.stat().st_size
    if stored_sizes(database)[1]:
        part = box_features / ".features.db.part"
        part.unlink(missing_ok=True)
        merge_databases([database], part, keep_descriptors=False)
        part.replace(database)
    size = database.stat().st_size
    manifest["files"]["features.db"] = {"size": size, "sha256": sha256_of(database)}
    manifest["counts"] |= {DROPPED: before - size, "database_bytes": size}
    write_json(box_features / "manifest.json", manifest)
    return before - size


def restore_descriptors(
    box: str,
    *,
    box_features: Path,
    box_images: Path,
    work: Path,
    settings: FeatureSettings,
    n_threads: int,
    progress: Progress,
) -> Path:
    """Extract the features of a box whose descriptors were dropped once more, for matching.

    Args:
        box: Key of the box.
        box_features: The artifact without descriptors.
        box_images: The artifact ``box_images`` that it was made from.
        work: Folder of the matching step; killed, the next call goes on from there.
        settings: Feature settings, the same as then.
        n_threads: Threads of the extractor.
        progress: Called after every chunk of photos.

    Returns:
        A folder with a whole ``features.db``, below ``work``.

    Raises:
        FeatureError: The keypoints are not those of the artifact: models were made with others.
        StorageError: The disk is full.
    """
    folder = work / f"features-{box}"
    if (folder / "features.db").exists():
        return folder
    part, unfinished = work / f"features-{box}.part", work / f"features-{box}.work"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    unfinished.mkdir(exist_ok=True)
    extract_box_features(
        box,
        box_images=box_images,
        out=part,
        work=unfinished,
        settings=settings,
        n_threads=n_threads,
        progress=progress,
    )
    compared = ["image_id", "colmap_id", "n_keypoints"]
    tables = [
        pd.read_parquet(place / "features.parquet", columns=compared)
        for place in (part, box_features)
    ]
    if not tables[0].equals(tables[1]):
        raise FeatureError(
            f"extracting the features again gave {tables[0]['n_keypoints'].sum()} keypoints and"
            f" the artifact has {tables[1]['n_keypoints'].sum()}",
            expected="the same keypoints in every photo",
            fix="Delete this version of box_features and materialize it again; what follows is"
            " remade.",
            box=box,
        )
    part.rename(folder)
    shutil.rmtree(unfinished)
    return folder
