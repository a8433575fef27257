"""Fetching photos from a service: those that are in the store are not asked for."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager

from citysplat_core.errors import StorageError
from citysplat_core.imagery.photo_store import PhotoStore
from citysplat_core.imagery.services.http import run_async
from citysplat_core.imagery.services.photo_download import PhotoFetcher
from citysplat_core.imagery.source import PhotoRequest, PhotoResult, fetched
from citysplat_core.storage import Progress

Connect = Callable[[Executor], AbstractAsyncContextManager[PhotoFetcher]]
"""Opens the connections of a service; gets the threads that check and write photos."""


def fetch_missing(
    wanted: Sequence[PhotoRequest],
    store: PhotoStore,
    *,
    size_px: int,
    n_threads: int,
    progress: Progress,
    connect: Connect,
) -> list[PhotoResult]:
    """Return the photos, downloading those that are not in the store.

    Args:
        wanted: The photos.
        store: Where they go.
        size_px: Width wanted, pixels; 0 for the original.
        n_threads: Threads that check and write photos.
        progress: Called with photos done and photos in all.
        connect: Opens the connections, if any photo is missing.

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
            run_async(_download(missing, done, connect, n_threads))
        except StorageError as error:
            kept = sum(result.state == "ok" for result in results.values())
            seen = f"{error.seen}; {kept} of {len(wanted)} photos are kept"
            raise StorageError(seen, expected=error.expected, fix=error.fix) from error
    return [results[request.image_id] for request in wanted]


async def _download(
    ids: list[str], done: Callable[[PhotoResult], None], connect: Connect, n_threads: int
) -> None:
    with ThreadPoolExecutor(max_workers=max(1, n_threads)) as executor:
        async with connect(executor) as fetcher:
            await fetcher.fetch_all(ids, done)
