"""The step that brings the photos of a box, checks them and describes their cameras."""

import logging
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from citysplat_core.errors import DiscoveryError, ImageError
from citysplat_core.geography import CityFrame
from citysplat_core.imagery.attribution import attribution_text
from citysplat_core.imagery.cameras import Camera, camera_for, distinct_cameras, lenses_of
from citysplat_core.imagery.photo_store import PhotoStore
from citysplat_core.imagery.quality import Quality, score_photo
from citysplat_core.imagery.rotations import rotations_in_city_frame
from citysplat_core.imagery.source import ImageSource, PhotoRequest, PhotoResult
from citysplat_core.imagery.tables import (
    CAMERAS_SCHEMA,
    CATALOG_SCHEMA,
    IMAGES_SCHEMA,
    read_table,
    table_of,
    write_table,
)
from citysplat_core.settings import PhotoSettings
from citysplat_core.storage import Progress, StepReport, published
from citysplat_core.storage.files import full_disk_is_clear

_LOG = logging.getLogger(__name__)
_PANORAMA = "panorama: not supported yet"
_MAX_FAILED_SHARE = 0.5
_MIN_SUSPICION = 10


def fetch_box_images(  # noqa: PLR0913 - the contract of a step
    box: str,
    *,
    plan_images: Path,
    catalog: Path,
    source: ImageSource,
    photo_cache: Path,
    frame: CityFrame,
    out: Path,
    work: Path,
    settings: PhotoSettings,
    n_threads: int,
    progress: Progress,
) -> StepReport:
    """Bring the photos of a box.

    Args:
        box: Key of the box.
        plan_images: The plan's ``images.parquet``.
        catalog: Folder with ``catalog.parquet``.
        source: Who has the photos.
        photo_cache: Folder shared by all boxes; photos that are in it are not fetched again.
        frame: The city frame, for rotations.
        out: Gets ``photos/``, ``images.parquet``, ``cameras.parquet`` and ``ATTRIBUTION.md``.
        work: Directory that survives a kill; not needed, the cache survives too.
        settings: Size and thresholds.
        n_threads: Threads for checking and scoring.
        progress: Called with photos done and photos in all.

    Returns:
        Counts ``images``, ``ok``, ``failed``, ``rejected``, ``cameras``, ``size_bytes``, and one
        ``REASON`` for each kind of failure; ``skipped`` if no photo is usable.

    Raises:
        DiscoveryError: Most photos fail, which no box has by itself: the service is down.
        StorageError: The disk is full; what was fetched is kept.
    """
    del work
    listed = catalog / "catalog.parquet"
    rows = _rows_of(box, plan_images, listed, frame)
    store = PhotoStore(photo_cache)
    results = _fetch(rows, source, store, settings, n_threads, progress)
    _refuse_outage(box, source, results)
    scores = _scored(results, store, settings, n_threads)
    lenses = lenses_of(_rows_with_same_cameras(listed, rows))
    images, cameras = [], []
    for row in rows:
        result, quality = results.get(row["image_id"]), scores.get(row["image_id"])
        status, reason = _judge(row, result, quality, settings)
        camera = None
        if status == "ok" and result is not None:
            camera = camera_for(row, result.width, result.height, lenses)
            cameras.append(camera)
        images.append(_image_row(row, status, reason, result, quality, camera))
    _write(out, rows, images, distinct_cameras(cameras), results)
    return _report(box, images, len({camera.camera_id for camera in cameras}))


def _rows_of(box: str, plan_images: Path, catalog: Path, frame: CityFrame) -> list[dict[str, Any]]:
    """Join plan and catalog for a box, sorted by colmap_id; rotations in the city frame."""
    home = ["image_id", "colmap_id", "box", "east_m", "north_m", "up_m", "heading_deg"]
    plan = pq.read_table(plan_images, columns=home, filters=[("box", "==", box)])
    wanted = [name for name in CATALOG_SCHEMA.names if name not in {"colmap_id", "heading_deg"}]
    described = read_table(catalog, CATALOG_SCHEMA, wanted)
    described = described.filter(pc.is_in(described.column("image_id"), plan.column("image_id")))
    facts = {row["image_id"]: row for row in described.to_pylist()}
    missing = [i for i in plan.column("image_id").to_pylist() if i not in facts]
    if missing:
        raise ImageError(
            f"{len(missing)} photos of the plan are not in the catalog (first {missing[:3]})",
            expected="a plan made from this catalog",
            fix="Make the box plan again.",
            box=box,
        )
    rows = [facts[row["image_id"]] | row for row in plan.to_pylist()]
    rows.sort(key=lambda row: int(row["colmap_id"]))
    _turn_rotations(rows, frame)
    return rows


def _turn_rotations(rows: list[dict[str, Any]], frame: CityFrame) -> None:
    names = ("rotation_x", "rotation_y", "rotation_z")
    local = np.array([[row[name] for name in names] for row in rows], float).reshape(-1, 3)
    lon = np.array([row["lon"] for row in rows], float)
    lat = np.array([row["lat"] for row in rows], float)
    turned = rotations_in_city_frame(local, lon, lat, frame)
    for row, values in zip(rows, turned.tolist(), strict=True):
        row.update(zip(names, values, strict=True))


def _rows_with_same_cameras(catalog: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read the catalog's listed rows of the makes and models in this box, for their lenses."""
    columns = ["make", "model", "creator", "creator_id", "sequence_id", "camera_type", "source"]
    columns += ["width", "height", "focal_ratio", "k1", "k2", "status"]
    table = read_table(catalog, CATALOG_SCHEMA, columns)
    keep = pc.equal(table.column("status"), "listed")
    for name in ("make", "model"):
        values = pa.array(sorted({row[name] for row in rows}, key=str), pa.string())
        keep = pc.and_(keep, pc.is_in(table.column(name), values))
    return list(table.filter(keep).to_pylist())


def _fetch(
    rows: list[dict[str, Any]],
    source: ImageSource,
    store: PhotoStore,
    settings: PhotoSettings,
    n_threads: int,
    progress: Progress,
) -> dict[str, PhotoResult]:
    wanted = [
        PhotoRequest(image_id=row["image_id"], photo_ref=row["photo_ref"])
        for row in rows
        if not row["is_pano"]
    ]
    results = source.fetch_photos(
        wanted, store, size_px=settings.size_px, n_threads=n_threads, progress=progress
    )
    return {result.image_id: result for result in results}


def _refuse_outage(box: str, source: ImageSource, results: dict[str, PhotoResult]) -> None:
    failed = [result for result in results.values() if result.state == "failed"]
    few = len(failed) < _MIN_SUSPICION or len(failed) <= _MAX_FAILED_SHARE * len(results)
    if few or source.name == "folder":
        return
    raise DiscoveryError(
        f"{len(failed)} of {len(results)} photos could not be fetched ({failed[0].reason})",
        expected="at most half, unless the service is down",
        fix="Run again later; the photos that came are kept.",
        box=box,
    )


def _scored(
    results: dict[str, PhotoResult], store: PhotoStore, settings: PhotoSettings, n_threads: int
) -> dict[str, Quality | None]:
    """Score every photo; None for those that turn out damaged, which leave the cache."""

    def score(result: PhotoResult) -> Quality | None:
        if result.path is None:
            return None
        try:
            return score_photo(result.path.read_bytes())
        except ImageError:
            store.drop(result.image_id, settings.size_px)
            return None

    present = [result for result in results.values() if result.state == "ok"]
    with ThreadPoolExecutor(max_workers=max(1, n_threads)) as pool:
        scores = list(pool.map(score, present))
    return {result.image_id: quality for result, quality in zip(present, scores, strict=True)}


def _judge(
    row: dict[str, Any],
    result: PhotoResult | None,
    quality: Quality | None,
    settings: PhotoSettings,
) -> tuple[str, str | None]:
    if row["is_pano"] or result is None:
        return "rejected", _PANORAMA
    if result.state != "ok":
        return "failed", result.reason
    if quality is None:
        return "failed", "damaged in the photo cache; it will be fetched again"
    least = settings.min_blur_score
    if least is not None and quality.blur_score < least:
        return "rejected", "blurred"
    if quality.luminance_mean < settings.min_luminance:
        return "rejected", "too dark"
    return "ok", None


def _image_row(
    row: dict[str, Any],
    status: str,
    reason: str | None,
    result: PhotoResult | None,
    quality: Quality | None,
    camera: Camera | None,
) -> dict[str, object]:
    kept = ("image_id", "colmap_id", "sequence_id", "captured_at", "creator", "heading_deg")
    places = ("east_m", "north_m", "up_m", "rotation_x", "rotation_y", "rotation_z")
    image: dict[str, object] = {name: row[name] for name in (*kept, *places)}
    image |= {"status": status, "reason": reason}
    image["camera_id"] = camera.camera_id if camera else None
    if result is not None and result.state == "ok":
        for name in ("size_bytes", "sha256", "width", "height"):
            image[name] = getattr(result, name)
    if quality is not None:
        for name in ("blur_score", "luminance_mean", "luminance_std", "dhash"):
            image[name] = getattr(quality, name)
    return image


def _write(
    out: Path,
    rows: list[dict[str, Any]],
    images: list[dict[str, object]],
    cameras: Sequence[Camera],
    results: dict[str, PhotoResult],
) -> None:
    photos = out / "photos"
    photos.mkdir()
    used = {str(image["image_id"]) for image in images if image["status"] == "ok"}
    for image_id in sorted(used):
        path = results[image_id].path
        if path is not None:
            _place(path, photos / f"{image_id}.jpg")
    write_table(table_of(images, IMAGES_SCHEMA), out / "images.parquet")
    names = CAMERAS_SCHEMA.names
    listed = [{name: getattr(camera, name) for name in names} for camera in cameras]
    write_table(table_of(listed, CAMERAS_SCHEMA), out / "cameras.parquet")
    text = attribution_text(row for row in rows if row["image_id"] in used)
    with published(out / "ATTRIBUTION.md") as stream:
        stream.write(text.encode())


def _place(path: Path, target: Path) -> None:
    """Link a photo; copy it if the cache is on another disk."""
    try:
        os.link(path, target)
    except OSError:
        with full_disk_is_clear(target):
            shutil.copyfile(path, target)


def _report(box: str, images: list[dict[str, object]], n_cameras: int) -> StepReport:
    status = Counter(str(image["status"]) for image in images)
    reasons = Counter(str(image["reason"]) for image in images if image["reason"])
    counts: dict[str, int | float | str] = {
        "images": len(images),
        "ok": status["ok"],
        "failed": status["failed"],
        "rejected": status["rejected"],
        "cameras": n_cameras,
        "size_bytes": sum(
            int(str(image["size_bytes"])) for image in images if image["status"] == "ok"
        ),
        **dict(sorted(reasons.most_common(5))),
    }
    _LOG.info("photos of box %s: %s", box, counts)
    skipped = ""
    if not status["ok"]:
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
        skipped = f"none of {len(images)} photos is usable ({why})" if images else "no photos"
    return StepReport(counts=counts, skipped=skipped)
