"""Writing the photos of a box: links, tables, credits."""

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from citysplat_core.imagery.attribution import attribution_text
from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.cameras import distinct_cameras
from citysplat_core.imagery.panorama import taken_sequence_of
from citysplat_core.imagery.quality import Quality
from citysplat_core.imagery.tables import (
    CAMERAS_SCHEMA,
    IMAGES_SCHEMA,
    PHOTO_SCORES,
    table_of,
    write_table,
)
from citysplat_core.storage import digest_of, digest_of_table, published, sha256_of
from citysplat_core.storage.files import full_disk_is_clear

_FROM_ROW = (
    *("image_id", "colmap_id", "sequence_id", "captured_at", "creator", "heading_deg"),
    *("east_m", "north_m", "up_m", "rotation_x", "rotation_y", "rotation_z"),
    *("panorama_id", "view_yaw_deg", "view_pitch_deg"),
)
_FROM_RESULT = ("size_bytes", "sha256", "width", "height")
_FROM_QUALITY = tuple(field.name for field in fields(Quality))


def write_photos(out: Path, photos: Sequence[BoxPhoto]) -> None:
    """Write ``photos/``, ``images.parquet``, ``cameras.parquet`` and ``ATTRIBUTION.md``.

    Args:
        out: An empty folder.
        photos: The box's photos, judged; only ``ok`` ones get a file.

    Raises:
        StorageError: The disk is full.
    """
    folder = out / "photos"
    folder.mkdir()
    used = [photo for photo in photos if photo.status == "ok"]
    for photo in used:
        if photo.result is not None and photo.result.path is not None:
            _place(photo.result.path, folder / f"{photo.image_id}.jpg")
    write_table(table_of([_image_row(p) for p in photos], IMAGES_SCHEMA), out / "images.parquet")
    cameras = distinct_cameras([photo.camera for photo in used if photo.camera is not None])
    listed = [{name: getattr(camera, name) for name in CAMERAS_SCHEMA.names} for camera in cameras]
    write_table(table_of(listed, CAMERAS_SCHEMA), out / "cameras.parquet")
    with published(out / "ATTRIBUTION.md") as stream:
        stream.write(attribution_text(_credited(used)).encode())


def _credited(used: Sequence[BoxPhoto]) -> Iterable[dict[str, Any]]:
    """Return one row for each photo that somebody took: the views of a panorama are one."""
    taken = {photo.row["panorama_id"] or photo.image_id: photo.row for photo in used}
    return [row | {"sequence_id": taken_sequence_of(row)} for row in taken.values()]


def content_digest(out: Path) -> str:
    """Name what later steps read of a box's photos: usable rows, cameras, masks.

    Scores, refused photos and the reasons of failures do not count, so that a threshold which
    changes no verdict, and a photo that fails again, leave everything that hangs on the box alone.

    Args:
        out: The folder that ``write_photos`` has filled.
    """
    usable = [("status", "==", "ok")]
    unread = (*PHOTO_SCORES, "mask", "mask_share")  # the mask files count, not what is said of them
    images = digest_of_table(out / "images.parquet", without=unread, where=usable)
    masks = {path.name: sha256_of(path) for path in sorted((out / "masks").glob("*.png"))}
    return digest_of([images, digest_of_table(out / "cameras.parquet"), masks])


def _image_row(photo: BoxPhoto) -> dict[str, object]:
    image: dict[str, object] = {name: photo.row[name] for name in _FROM_ROW}
    image |= {"status": photo.status, "reason": photo.reason}
    image |= {"mask": photo.mask, "mask_share": photo.mask_share}
    image["camera_id"] = photo.camera.camera_id if photo.camera else None
    if photo.result is not None and photo.result.state == "ok":
        image |= {name: getattr(photo.result, name) for name in _FROM_RESULT}
    if photo.quality is not None:
        image |= {name: getattr(photo.quality, name) for name in _FROM_QUALITY}
    return image


def _place(path: Path, target: Path) -> None:
    """Link a photo; copy it if the cache is on another disk."""
    try:
        os.link(path, target)
    except OSError:
        with full_disk_is_clear(target):
            shutil.copyfile(path, target)
