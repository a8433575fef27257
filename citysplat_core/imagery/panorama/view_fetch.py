"""Bringing photos where some are views of panoramas: each panorama is fetched once and cut."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from citysplat_core.errors import ImageError
from citysplat_core.imagery.panorama.cutting import (
    CUT_VERSION,
    cut_view,
    encode_view,
    read_panorama,
)
from citysplat_core.imagery.panorama.rig import View, is_covered
from citysplat_core.imagery.panorama.telling import coverage_of
from citysplat_core.imagery.photo_store import PhotoStore, by_its_ends
from citysplat_core.imagery.source import ImageSource, PhotoRequest, PhotoResult, fetched
from citysplat_core.settings import PanoramaSettings
from citysplat_core.storage import Progress, digest_of

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewFetch:
    """How photos and views of panoramas are brought.

    Attributes:
        source: Who has the photos and panoramas.
        store: Where photos and views are kept; views too under ``size_px``.
        size_px: Width of photos; 0 for the original.
        panoramas: The width panoramas are fetched in, and whether they are kept.
        n_threads: Threads that decode, cut and encode.
        progress: Called with photos done and photos in all, then the same for panoramas.
    """

    source: ImageSource
    store: PhotoStore
    size_px: int
    panoramas: PanoramaSettings
    n_threads: int
    progress: Progress

    def fetch(self, rows: Sequence[Row]) -> list[PhotoResult]:
        """Bring photos and views into the store; what is there is not asked for or cut again.

        Args:
            rows: Catalog rows; those with a ``panorama_id`` are views.

        Returns:
            One result a row, in the same order. A view of a panorama that cannot be had, or whose
            file is no equirectangular picture, fails with that reason.

        Raises:
            DiscoveryError: The source cannot be asked at all.
            StorageError: The disk is full.
        """
        plain = [row for row in rows if row["panorama_id"] is None]
        results = {result.image_id: result for result in self._ask(plain, self.store)}
        views = [row for row in rows if row["panorama_id"] is not None]
        results |= {result.image_id: result for result in self._views(views)}
        return [results[row["image_id"]] for row in rows]

    def _ask(self, rows: Sequence[Row], store: PhotoStore) -> list[PhotoResult]:
        requests = [PhotoRequest(image_id=r["image_id"], photo_ref=r["photo_ref"]) for r in rows]
        return self.source.fetch_photos(
            requests,
            store,
            size_px=self.size_px,
            n_threads=self.n_threads,
            progress=self.progress,
        )

    def _views(self, rows: Sequence[Row]) -> Iterator[PhotoResult]:
        """Yield the results of the views, panorama by panorama."""
        missing: dict[str, list[Row]] = {}
        for row in rows:
            kept = None if self._must_look(row) else self._kept(row, "")
            if kept is not None:
                yield kept
            else:
                missing.setdefault(str(row["panorama_id"]), []).append(row)
        if not missing:
            return
        self.store.require_space(sum(map(len, missing.values())), self.size_px)
        # Cutting decodes every panorama strictly: that is the check of its middle.
        whole = PhotoStore(self.store.folder, check=by_its_ends)
        panoramas = self.source.fetch_photos(
            [PhotoRequest(image_id=i, photo_ref=r[0]["photo_ref"]) for i, r in missing.items()],
            whole,
            size_px=self.panoramas.download_px,
            n_threads=self.n_threads,
            progress=self.progress,
        )
        whole.flush()
        with ThreadPoolExecutor(max_workers=max(1, self.n_threads)) as pool:
            cut = pool.map(lambda p: self._cut(p, missing[p.image_id], whole), panoramas)
            for number, results in enumerate(cut, start=1):
                self.progress(number, len(panoramas), "panoramas cut")
                yield from results

    def _must_look(self, row: Row) -> bool:
        """Say whether a panorama may have changed under its id; a service's never does."""
        return bool(row["source"] == "folder")

    def _kept(self, row: Row, content: str) -> PhotoResult | None:
        photo = self.store.find(row["image_id"], self.size_px, origin=self._origin(row, content))
        return None if photo is None else fetched(row["image_id"], photo)

    def _origin(self, row: Row, content: str) -> str:
        """Name what a view is made from and how: another rig or file gives another name."""
        view = View.of_row(row)
        shape = [view.yaw_deg, view.pitch_deg, view.width, view.height, view.focal_ratio]
        coverage = coverage_of(_panorama_facts(row))
        how = [CUT_VERSION, row["panorama_id"], self.panoramas.download_px, content, str(coverage)]
        return digest_of([*how, *shape])

    def _cut(
        self, panorama: PhotoResult, rows: Sequence[Row], whole: PhotoStore
    ) -> list[PhotoResult]:
        """Cut the wanted views of one panorama."""
        if panorama.path is None:
            return [_refused(row, panorama.state, panorama.reason) for row in rows]
        content = panorama.sha256 if self._must_look(rows[0]) else ""
        kept = [self._kept(row, content) for row in rows]
        if all(kept):
            return [result for result in kept if result is not None]
        try:
            results = self._cut_anew(panorama, rows, content)
        except ImageError as error:
            whole.drop(panorama.image_id, self.panoramas.download_px)  # it is fetched anew
            return [_refused(row, "failed", error.seen) for row in rows]
        if not self.panoramas.keep_downloads:
            whole.drop(panorama.image_id, self.panoramas.download_px)
        return results

    def _cut_anew(
        self, panorama: PhotoResult, rows: Sequence[Row], content: str
    ) -> list[PhotoResult]:
        if panorama.path is None:
            return []
        size = {"width": panorama.width, "height": panorama.height}
        coverage = coverage_of(_panorama_facts(rows[0]) | size)
        views = [View.of_row(row) for row in rows]
        if isinstance(coverage, str) or not all(is_covered(view, coverage) for view in views):
            raise ImageError(
                f"a panorama file of {panorama.width} x {panorama.height} pixels",
                expected="an equirectangular picture that shows all of its views",
                fix="Export the panorama again, or set panoramas.use to exclude.",
            )
        pixels = read_panorama(panorama.path.read_bytes(), coverage)
        results = []
        for row, view in zip(rows, views, strict=True):
            body = encode_view(cut_view(pixels, coverage, view))
            photo = self.store.save(
                row["image_id"], self.size_px, body, origin=self._origin(row, content)
            )
            results.append(fetched(row["image_id"], photo))
        return results


def _panorama_facts(row: Row) -> dict[str, Any]:
    """Return what a view's row still says of its panorama: how it is cropped."""
    return {name: row[name] for name in ("pano_left", "pano_top", "pano_width", "pano_height")}


def _refused(row: Row, state: Literal["ok", "failed", "gone"], reason: str) -> PhotoResult:
    return PhotoResult(image_id=row["image_id"], state=state, reason=reason)
