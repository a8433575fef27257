"""Fetching and scoring the photos of a box that no rule has refused yet."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from citysplat_core.errors import DiscoveryError, ImageError
from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.photo_store import PhotoStore
from citysplat_core.imagery.quality import score_photo
from citysplat_core.imagery.source import ImageSource, PhotoRequest
from citysplat_core.settings import PhotoSettings
from citysplat_core.storage import Progress

_MAX_FAILED_SHARE = 0.5
_MIN_SUSPICION = 10
_DAMAGED = "damaged in the photo cache; it will be fetched again"


def fetch_open(
    box: str,
    photos: Sequence[BoxPhoto],
    *,
    source: ImageSource,
    store: PhotoStore,
    settings: PhotoSettings,
    n_threads: int,
    progress: Progress,
) -> None:
    """Bring the files of the open photos and score them.

    Photos whose file cannot be had, or is damaged, fail with the reason.

    Raises:
        DiscoveryError: Most photos fail, which no box has by itself: the service is down.
        StorageError: The disk is full; what was fetched is kept.
    """
    wanted = [photo for photo in photos if photo.is_open]
    requests = [PhotoRequest(image_id=p.image_id, photo_ref=p.row["photo_ref"]) for p in wanted]
    results = source.fetch_photos(
        requests, store, size_px=settings.size_px, n_threads=n_threads, progress=progress
    )
    for photo, result in zip(wanted, results, strict=True):
        photo.result = result
        if result.state != "ok":
            photo.fail(result.reason)
    _refuse_outage(box, source, wanted)
    with ThreadPoolExecutor(max_workers=max(1, n_threads)) as pool:
        list(pool.map(lambda photo: _score(photo, store, settings), wanted))


def _refuse_outage(box: str, source: ImageSource, wanted: Sequence[BoxPhoto]) -> None:
    failed = [photo for photo in wanted if photo.result and photo.result.state == "failed"]
    few = len(failed) < _MIN_SUSPICION or len(failed) <= _MAX_FAILED_SHARE * len(wanted)
    if few or source.name == "folder":
        return
    raise DiscoveryError(
        f"{len(failed)} of {len(wanted)} photos could not be fetched ({failed[0].reason})",
        expected="at most half, unless the service is down",
        fix="Run again later; the photos that came are kept.",
        box=box,
    )


def _score(photo: BoxPhoto, store: PhotoStore, settings: PhotoSettings) -> None:
    """Score a photo; one that turns out damaged fails and leaves the cache."""
    if photo.result is None or photo.result.path is None:
        return
    try:
        photo.quality = score_photo(photo.result.path.read_bytes())
    except ImageError:
        store.drop(photo.image_id, settings.size_px)
        photo.fail(_DAMAGED)
