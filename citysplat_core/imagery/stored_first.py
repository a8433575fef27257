"""Fetching photos from a service: those that are in the store are not asked for."""

from collections.abc import Callable, Sequence

from citysplat_core.errors import StorageError
from citysplat_core.imagery.photo_store import PhotoStore
from citysplat_core.imagery.source import PhotoRequest, PhotoResult, fetched
from citysplat_core.storage import Progress

Download = Callable[[list[str], Callable[[PhotoResult], None]], None]
"""Fetches photos by their ids and calls back once for each, in no order."""


def fetch_missing(
    wanted: Sequence[PhotoRequest],
    store: PhotoStore,
    *,
    size_px: int,
    progress: Progress,
    download: Download,
) -> list[PhotoResult]:
    """Return the photos, downloading those that are not in the store.

    Args:
        wanted: The photos.
        store: Where they go.
        size_px: Width wanted, pixels; 0 for the original.
        progress: Called with photos done and photos in all.
        download: Brings the missing ones.

    Returns:
        One result a wanted photo, in the same order.

    Raises:
        StorageError: There is not enough space, or the disk filled up: says how many photos are
            kept.
    """
    results: dict[str, PhotoResult] = {}
    for request in wanted:
        photo = store.find(request.image_id, size_px)
        if photo is not None:
            results[request.image_id] = fetched(request.image_id, photo)
    missing = [r.image_id for r in wanted if r.image_id not in results]
    store.require_space(len(missing), size_px)
    progress(len(results), len(wanted), "photos")

    def done(result: PhotoResult) -> None:
        results[result.image_id] = result
        progress(len(results), len(wanted), "photos")

    if missing:
        try:
            download(missing, done)
        except StorageError as error:
            kept = sum(result.state == "ok" for result in results.values())
            seen = f"{error.seen}; {kept} of {len(wanted)} photos are kept"
            raise StorageError(seen, expected=error.expected, fix=error.fix) from error
    return [results[request.image_id] for request in wanted]
