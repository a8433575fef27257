"""The step that brings the photos of a box, checks them and describes their cameras."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from citysplat_core.geography import CityFrame
from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.cameras import camera_for, lenses_of
from citysplat_core.imagery.contact_sheet import write_contact_sheet
from citysplat_core.imagery.download_estimate import DownloadEstimate
from citysplat_core.imagery.fetching import PhotoFetch
from citysplat_core.imagery.masks.combine import make_masks
from citysplat_core.imagery.photo_output import content_digest, write_photos
from citysplat_core.imagery.photo_rows import rows_of, rows_with_same_cameras
from citysplat_core.imagery.photo_store import PhotoStore
from citysplat_core.imagery.rules import SUPERFLUOUS, refuse_before_download, refuse_by_scores
from citysplat_core.imagery.score_store import ScoreStore
from citysplat_core.imagery.source import ImageSource
from citysplat_core.settings import MaskSettings, PanoramaSettings, PhotoSettings
from citysplat_core.storage import Progress, StepReport

_LOG = logging.getLogger(__name__)
_REASONS_COUNTED = 12
_DEFAULT_PANORAMAS = PanoramaSettings()


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
    panoramas: PanoramaSettings = _DEFAULT_PANORAMAS,
    masks: MaskSettings,
    mask_model: Path | None = None,
    n_threads: int,
    progress: Progress,
) -> StepReport:
    """Bring the photos of a box.

    Args:
        box: Key of the box.
        plan_images: The plan's ``images.parquet``.
        catalog: Folder with ``catalog.parquet`` and ``scores.parquet``.
        source: Who has the photos.
        photo_cache: Folder shared by all boxes; photos that are in it are not fetched again. Their
            scores lie beside it, in ``scores.sqlite``.
        frame: The city frame, for rotations.
        out: Gets ``photos/``, ``images.parquet``, ``cameras.parquet`` and ``ATTRIBUTION.md``;
            ``masks/`` for photos of which a part is ignored.
        work: Directory that survives a kill; not needed, the cache survives too.
        settings: Size and thresholds.
        panoramas: How panoramas are fetched; the catalog says which views are cut out of them.
        masks: What is ignored in the photos.
        mask_model: The segmentation network, if the masks ask for one.
        n_threads: Threads for checking and scoring.
        progress: Called with photos done and photos in all.

    Returns:
        Counts ``images``, ``ok``, ``failed`` (``failed_to_retry`` of a service), ``gone``,
        ``rejected`` (``superfluous`` of them are good and not needed), ``cameras``,
        ``size_bytes``, what was estimated before the download, one ``REASON`` for each reason, and
        those of ``make_masks``; ``skipped`` if no photo is usable.

    Raises:
        DiscoveryError: Most photos fail, which no box has by itself: the service is down.
        ConfigError: The network for masks cannot be used.
        StorageError: The disk is full; what was fetched is kept.
    """
    del work
    listed = catalog / "catalog.parquet"
    photos = [BoxPhoto(row=row) for row in rows_of(box, plan_images, catalog, frame)]
    refuse_before_download(photos, settings)
    with ScoreStore(photo_cache.parent / "scores.sqlite") as scores:
        fetch = PhotoFetch(
            source=source,
            store=PhotoStore(photo_cache, check=scores.score),
            scores=scores,
            size_px=settings.size_px,
            panoramas=panoramas,
            n_threads=n_threads,
            progress=progress,
        )
        estimate = fetch.fetch_open(box, photos)
    refuse_by_scores(photos, settings)
    _accept(photos, listed)
    masked = make_masks(
        out,
        photos,
        source=source,
        settings=masks,
        model_file=mask_model,
        n_threads=n_threads,
        progress=progress,
    )
    write_photos(out, photos)
    sheet = write_contact_sheet(photos, out / "sheet.jpg")
    report = masked.added_to(_report(box, photos, estimate, sheet))
    return replace(report, counts={**report.counts, "content_digest": content_digest(out)})


def _accept(photos: Sequence[BoxPhoto], catalog: Path) -> None:
    """Make ``ok`` what no rule refused, and give it its camera."""
    lenses = lenses_of(rows_with_same_cameras(catalog, [photo.row for photo in photos]))
    for photo in photos:
        if photo.is_open and photo.result is not None:
            photo.status = "ok"
            size = photo.result.width, photo.result.height
            photo.camera = camera_for(photo.row, *size, lenses)


def _report(
    box: str, photos: Sequence[BoxPhoto], estimate: DownloadEstimate, sheet: Path | None
) -> StepReport:
    status = Counter(photo.status for photo in photos)
    reasons = Counter(photo.reason for photo in photos if photo.reason)
    used = [photo for photo in photos if photo.status == "ok"]
    counts: dict[str, int | float | str] = {
        "images": len(photos),
        "ok": status["ok"],
        "failed": status["failed"],
        "failed_to_retry": sum(_may_work_later(photo) for photo in photos),
        "gone": status["gone"],
        "rejected": status["rejected"],
        "superfluous": sum(reasons[reason] for reason in SUPERFLUOUS),
        "cameras": len({photo.camera.camera_id for photo in used if photo.camera}),
        "size_bytes": sum(photo.result.size_bytes for photo in used if photo.result),
        "estimated_downloads": estimate.n_photos,
        "estimated_mb": round(estimate.size_bytes / 1e6, 1),
        "estimated_s": round(estimate.seconds, 1),
        **dict(sorted(reasons.most_common(_REASONS_COUNTED))),
    }
    _LOG.info("photos of box %s: %s", box, counts)
    skipped = ""
    if not used:
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
        skipped = f"none of {len(photos)} photos is usable ({why})" if photos else "no photos"
    previews = {} if sheet is None else {"Least sharp kept, best refused": sheet}
    return StepReport(counts=counts, skipped=skipped, previews=previews)


def _may_work_later(photo: BoxPhoto) -> bool:
    return photo.status == "failed" and photo.row["source"] != "folder"
