"""Getting photos from a maker that may be slow: each once at a time, the last ones kept."""

import asyncio
import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from citysplat_core.simulation.server.pictures import ImageMaker, thumbnail

_KEPT_BYTES = 64 * 2**20


class Darkroom:
    """Photos by id, made in worker threads.

    A client that loses patience and asks again joins the work that is under way: it must not make a
    slow renderer draw the same photo again, or neither of the two would ever come to an end.

    Args:
        images: Makes the photos.
        n_workers: Photos made at once; 0 takes one for each processor.
    """

    def __init__(self, images: ImageMaker, *, n_workers: int = 0) -> None:
        """Prepare; threads start with the first photo."""
        self._images = images
        self._pool = ThreadPoolExecutor(n_workers or os.cpu_count() or 1, "darkroom")
        self._under_way: dict[str, asyncio.Future[bytes]] = {}
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._kept_bytes = 0

    async def photo(self, image_id: str, kind: str) -> bytes:
        """Return a photo as JPEG.

        Args:
            image_id: The photo.
            kind: 256, 1024, 2048 (width in pixels) or original.

        Raises:
            FileNotFoundError: There is no such photo.
        """
        original = self._kept.get(image_id)
        if original is None:
            original = await self._made(image_id)
        return await asyncio.to_thread(thumbnail, original, kind)

    async def _made(self, image_id: str) -> bytes:
        work = self._under_way.get(image_id)
        if work is None:
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(self._pool, self._images.jpeg, image_id)
            self._under_way[image_id] = work
            work.add_done_callback(lambda done: self._finish(image_id, done))
        return await asyncio.shield(work)

    def _finish(self, image_id: str, work: asyncio.Future[bytes]) -> None:
        del self._under_way[image_id]
        if work.cancelled() or work.exception() is not None:
            return
        self._kept[image_id] = work.result()
        self._kept_bytes += len(work.result())
        while self._kept_bytes > _KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest)

    def close(self) -> None:
        """Stop the threads; photos that nobody has begun are not made."""
        self._pool.shutdown(wait=True, cancel_futures=True)
