"""Fetching and scoring the photos of a box that no rule has refused yet."""

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from citysplat_core.errors import DiscoveryError, ImageError
from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.download_estimate import DownloadEstimate, estimate_download
from citysplat_core.imagery.panorama import ViewFetch
from citysplat_core.imagery.photo_store import PhotoStore
from citysplat_core.imagery.score_store import ScoreStore
from citysplat_core.imagery.source import ImageSource
from citysplat_core.settings import PanoramaSettings
from citysplat_core.storage import Progress

_LOG = logging.getLogger(__name__)
_MAX_FAILED_SHARE = 0.5
_MIN_SUSPICION = 10
_DAMAGED = "damaged in the photo cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFetch:
    """How photos of a box are fetched and scored.

    Attributes:
        source: Who has the photos.
        store: Where they are kept; its check should be ``scores.score``, so that each photo is
            decoded once, strictly, for both.
        scores: Where their scores are kept.
        size_px: Width wanted; 0 for the original.
        panoramas: How panoramas are fetched, whose views are among the photos.
        n_threads: Threads for checking and scoring.
        progress: Called with photos done and photos in all.
    """

    source: ImageSource
    store: PhotoStore
    scores: ScoreStore
    size_px: int
    panoramas: PanoramaSettings
    n_threads: int
    progress: Progress

    def fetch_open(self, box: str, photos: Sequence[BoxPhoto]) -> DownloadEstimate:
        """Bring the files of the open photos and score them.

        Photos whose file cannot be had, or stays damaged, fail with the reason.

        Args:
            box: Key of the box.
            photos: Its photos; only open ones are asked for.

        Returns:
            What was estimated before the start.

        Raises:
            DiscoveryError: Most photos fail, which no box has by itself: the service is down.
            StorageError: The disk is full; what was fetched is kept.
        """
        wanted = [photo for photo in photos if photo.is_open]
        estimate = self._estimate(box, wanted)
        self._ask(wanted)
        self._refuse_outage(box, wanted)
        damaged = self._score(wanted)
        if damaged:  # rotten in the cache: fetched anew, once
            self._ask(damaged)
            self._score(damaged)
        for photo in wanted:
            if photo.result is not None and photo.result.state == "gone":
                photo.lose(photo.result.reason)
            elif photo.result is not None and photo.result.state != "ok":
                photo.fail(photo.result.reason)
            elif photo.quality is None:
                photo.fail(_DAMAGED)
        self.store.flush()
        return estimate

    def _estimate(self, box: str, wanted: Sequence[BoxPhoto]) -> DownloadEstimate:
        missing = [p for p in wanted if not self.store.path_of(p.image_id, self.size_px).is_file()]
        panoramas = {p.row["panorama_id"] for p in missing} - {None}
        whole_px = self.panoramas.download_px
        absent = sum(not self.store.path_of(i, whole_px).is_file() for i in panoramas)
        plain = sum(p.row["panorama_id"] is None for p in missing)
        estimate = estimate_download(plain, self.store, self.size_px)
        estimate += estimate_download(absent, self.store, whole_px)
        _LOG.info("box %s: %s", box, estimate)
        self.progress(0, len(wanted), f"photos: {estimate}")
        return estimate

    def _ask(self, wanted: Sequence[BoxPhoto]) -> None:
        fetch = ViewFetch(
            source=self.source,
            store=self.store,
            size_px=self.size_px,
            panoramas=self.panoramas,
            n_threads=self.n_threads,
            progress=self.progress,
        )
        results = fetch.fetch([photo.row for photo in wanted])
        for photo, result in zip(wanted, results, strict=True):
            photo.result = result

    def _refuse_outage(self, box: str, wanted: Sequence[BoxPhoto]) -> None:
        failed = [photo for photo in wanted if photo.result and photo.result.state == "failed"]
        # The views of a panorama are one download.
        n_failed, n_wanted = (len({p.row["panorama_id"] or p.image_id for p in photos})
                              for photos in (failed, wanted))  # fmt: skip
        few = n_failed < _MIN_SUSPICION or n_failed <= _MAX_FAILED_SHARE * n_wanted
        if few or self.source.name == "folder" or failed[0].result is None:
            return
        raise DiscoveryError(
            f"{n_failed} of {n_wanted} photos could not be fetched ({failed[0].result.reason})",
            expected="at most half, unless the service is down",
            fix="Run again later; the photos that came are kept.",
            box=box,
        )

    def _score(self, wanted: Sequence[BoxPhoto]) -> list[BoxPhoto]:
        """Score what has a file; return those whose file is damaged, which leaves the cache."""
        present = [photo for photo in wanted if photo.result and photo.result.path]
        self.scores.load([photo.result.sha256 for photo in present if photo.result])
        with ThreadPoolExecutor(max_workers=max(1, self.n_threads)) as pool:
            good = list(pool.map(self._score_one, present))
        return [photo for photo, is_good in zip(present, good, strict=True) if not is_good]

    def _score_one(self, photo: BoxPhoto) -> bool:
        result = photo.result
        if result is None or result.path is None:
            return True
        body = result.path.read_bytes()
        try:
            if hashlib.sha256(body).hexdigest() != result.sha256:
                raise _rotten(len(body))
            photo.quality = self.scores.score(body, result.sha256)
        except ImageError:
            self.store.drop(photo.image_id, self.size_px)
            return False
        return True


def _rotten(size_bytes: int) -> ImageError:
    return ImageError(
        f"a file of {size_bytes} bytes that is not what was stored",
        expected="the photo that was stored",
        fix="It is fetched again.",
    )
