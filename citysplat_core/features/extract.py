"""Features of a box: from its photos to one COLMAP database, restartable after every chunk."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from citysplat_core.errors import FeatureError
from citysplat_core.features.database import (
    connected,
    create_database,
    finish_database,
    image_name,
    narrow_keypoints,
    stored_sizes,
)
from citysplat_core.features.extraction import extract_features
from citysplat_core.features.masking import drop_masked_keypoints
from citysplat_core.features.merging import copy_database
from citysplat_core.features.reuse import (
    digest_photos,
    extraction_recipe,
    take_over_features,
)
from citysplat_core.settings import FeatureSettings
from citysplat_core.storage import Progress, StepReport, published, read_json, write_json

logger = logging.getLogger(__name__)


def extract_box_features(
    box: str,
    *,
    box_images: Path,
    out: Path,
    work: Path,
    settings: FeatureSettings,
    n_threads: int,
    progress: Progress,
    earlier: Path | None = None,
) -> StepReport:
    """Extract keypoints and descriptors of a box's photos: the artifact ``box_features``.

    Killed at any point and called again with the same ``work``, it goes on with the photos that
    are not done. The result does not depend on the number of threads.

    Args:
        box: Key of the box, for messages.
        box_images: The artifact ``box_images`` of the box.
        out: Empty folder; receives ``features.db`` and ``features.parquet``.
        work: Folder of this fingerprint's unfinished work.
        settings: Feature settings.
        n_threads: Threads of the extractor.
        progress: Called after every chunk of photos.
        earlier: An earlier version of the artifact: the features of its unchanged photos are
            taken over, only the others are extracted. The result is the same without it.

    Returns:
        Counts n_images, n_reused, n_keypoints, keypoints_median, n_featureless, n_keypoints_masked
        (dropped, because the masks of ``box_images`` ignore their place), database_bytes,
        keypoint_bytes_per_photo and descriptor_bytes_per_photo. Skipped if the box has no usable
        photo.

    Raises:
        FeatureError: The backend cannot run, photos are missing on disk, or no photo gave a
            single keypoint.
        StorageError: The unfinished database of an earlier try is damaged, or the disk is full.
    """
    images = pd.read_parquet(box_images / "images.parquet")
    images = images[images["status"] == "ok"].sort_values("colmap_id")
    photos = box_images / "photos"
    _refuse_missing_photos(box, photos, images)
    images = images.assign(photo_digest=digest_photos(box_images, images))
    cameras = pd.read_parquet(box_images / "cameras.parquet")
    database, taken = _working_database(work, cameras, images, settings, earlier)
    logger.info("box %s: features of %d photos by %s", box, len(images), settings.backend)
    if len(images):
        names = [image_name(str(image_id)) for image_id in images["image_id"]]
        extract_features(
            database, photos, names, settings=settings, n_threads=n_threads, progress=progress
        )
    copy_database(database, out / "features.db")
    _finish_copy(out / "features.db", box_images, images)
    table = _table_of(out / "features.db", database, images, taken)
    table = table.assign(recipe=extraction_recipe(settings))
    _refuse_blank_box(box, table)
    with published(out / "features.parquet") as stream:
        table.to_parquet(stream, compression="zstd", index=False)
    counts = {
        "n_images": len(table),
        "n_reused": len(taken),
        "n_keypoints": int(table["n_keypoints"].sum()),
        "keypoints_median": float(table["n_keypoints"].median()) if len(table) else 0.0,
        "n_featureless": int((table["n_keypoints"] == 0).sum()),
        "n_keypoints_masked": int(table["n_masked"].sum()),
        **_sizes(out / "features.db", len(table)),
    }
    logger.info("box %s: %s", box, counts)
    return StepReport(counts=counts, skipped="" if len(table) else "the box has no usable photo")


def _finish_copy(database: Path, box_images: Path, images: pd.DataFrame) -> None:
    """Drop what nobody reads, on a copy: a run that goes on after a kill counts it as well."""
    drop_masked_keypoints(database, box_images, images)
    with connected(database) as connection:
        narrow_keypoints(connection)
    finish_database(database)


def _refuse_blank_box(box: str, table: pd.DataFrame) -> None:
    if len(table) and not table["n_keypoints"].any():
        raise FeatureError(
            f"none of {len(table)} photos gave a keypoint",
            expected="photos with texture",
            fix="Look at the photos and masks of the box; raise features.max_image_px if it is"
            " very small.",
            box=box,
        )


def _refuse_missing_photos(box: str, photos: Path, images: pd.DataFrame) -> None:
    names = [image_name(str(image_id)) for image_id in images["image_id"]]
    missing = [name for name in names if not (photos / name).is_file()]
    if missing:
        raise FeatureError(
            f"{len(missing)} of {len(names)} photos are not on disk ({', '.join(missing[:3])})",
            expected=f"every photo with status ok in {photos}",
            fix="Materialize box_images of this box again.",
            box=box,
        )


def _working_database(
    work: Path,
    cameras: pd.DataFrame,
    images: pd.DataFrame,
    settings: FeatureSettings,
    earlier: Path | None,
) -> tuple[Path, dict[str, int]]:
    """Open the partial database of an earlier try, or make one that is whole or absent.

    Returns:
        The database, and the photos whose features it has from an earlier version, with the
        keypoints that their masks took.
    """
    database, note = work / "features.db", work / "reused.json"
    if not database.exists():
        part = work / "features.part.db"
        for stale in work.glob("features.part.db*"):
            stale.unlink()
        create_database(
            part,
            cameras,
            images,
            prior_std_m=settings.prior_std_m,
            prior_std_up_m=settings.prior_std_up_m,
        )
        write_json(note, take_over_features(part, earlier, images, extraction_recipe(settings)))
        finish_database(part)
        part.replace(database)
    return database, read_json(note) if note.exists() else {}


def _sizes(database: Path, n_images: int) -> dict[str, int]:
    """Say what a photo costs on disk, so that a city's size can be foreseen."""
    keypoints, descriptors = stored_sizes(database)
    return {
        "database_bytes": database.stat().st_size,
        "keypoint_bytes_per_photo": round(keypoints / max(n_images, 1)),
        "descriptor_bytes_per_photo": round(descriptors / max(n_images, 1)),
    }


def _table_of(
    out: Path, working: Path, images: pd.DataFrame, taken: dict[str, int]
) -> pd.DataFrame:
    """Count each photo's keypoints, and those that its mask took, now or in an earlier version."""
    before, after = _keypoint_counts(working), _keypoint_counts(out)
    table = images[["image_id", "colmap_id"]].reset_index(drop=True)
    n_keypoints = [after.get(int(key), 0) for key in table["colmap_id"]]
    n_masked = [
        taken.get(str(image_id), 0) + before.get(int(key), 0) - left
        for image_id, key, left in zip(
            table["image_id"], table["colmap_id"], n_keypoints, strict=True
        )
    ]
    return table.assign(
        n_keypoints=np.array(n_keypoints, dtype=np.int64),
        n_masked=np.array(n_masked, dtype=np.int64),
        photo_digest=images["photo_digest"].to_numpy(),
    )


def _keypoint_counts(database: Path) -> dict[int, int]:
    with connected(database) as connection:
        return dict(connection.execute("SELECT image_id, rows FROM keypoints"))
