"""One mask a photo: what its sources say, united, written and counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from citysplat_core.errors import ImageError
from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.masks.detections import (
    Detection,
    DetectionSource,
    detected_in_view,
    detected_region,
)
from citysplat_core.imagery.masks.files import MaskWriter
from citysplat_core.imagery.masks.learning import learn_sequences
from citysplat_core.imagery.masks.model import SegmentationModel
from citysplat_core.imagery.masks.preview import write_preview
from citysplat_core.imagery.panorama import View, coverage_of
from citysplat_core.imagery.source import ImageSource
from citysplat_core.settings import MaskSettings
from citysplat_core.storage import Progress, StepReport

Mask = NDArray[np.bool_]

_MARGIN = 0.004  # outlines of things are never exact: this share of the width is added
_REASONS_COUNTED = 6


@dataclass(slots=True, kw_only=True)
class MaskReport:
    """What became of the masks of a box.

    Attributes:
        counts: ``masked`` photos, ``mask_missing`` photos (some source could not say),
            ``masked_share`` (mean of the ignored share over all photos), and one
            ``mask missing: REASON`` for each reason.
        preview: Picture of masked photos, or None if there are none.
    """

    counts: dict[str, int | float | str] = field(default_factory=dict)
    preview: Path | None = None

    def added_to(self, report: StepReport) -> StepReport:
        """Return a step's report with these counts and this picture."""
        previews = {"What masks ignore": self.preview} if self.preview else {}
        return replace(
            report,
            counts={**report.counts, **self.counts},
            previews={**report.previews, **previews},
        )


def make_masks(
    out: Path,
    photos: Sequence[BoxPhoto],
    *,
    source: ImageSource,
    settings: MaskSettings,
    model_file: Path | None,
    n_threads: int,
    progress: Progress,
) -> MaskReport:
    """Write the masks of a box's usable photos and set ``mask`` and ``mask_share`` of each.

    Args:
        out: Folder of the artifact; gets ``masks/`` and ``masks.jpg``.
        photos: The box's photos; only ``ok`` ones get a mask.
        source: Who has the photos; asked for detections only if the settings say so.
        settings: Who says what is ignored.
        model_file: The segmentation network, if the settings ask for one.
        n_threads: Threads for decoding and for the network.
        progress: Called with photos done and photos in all.

    Returns:
        Counts and a preview.

    Raises:
        ConfigError: The segmentation network is missing or cannot be used.
        DiscoveryError: Detections were asked for and the service is down.
        StorageError: The disk is full.
    """
    used = [photo for photo in photos if photo.status == "ok"]
    sayings = _Sayings(settings=settings, model_file=model_file)
    if "sequence" in settings.sources:
        sayings.static = learn_sequences(
            used, min_photos=settings.min_sequence_photos, n_threads=n_threads
        )
    if "detections" in settings.sources:
        sayings.detections = _detections(used, source, progress)
    writer, shown = MaskWriter(out), []
    for number, photo in enumerate(used):
        region = sayings.of(photo, n_threads)
        if region is not None:
            writer.write(photo.image_id, region)
            shown.append(photo)
        if number % 16 == 0:
            progress(number, len(used), "masks")
    return MaskReport(counts=_counts(used), preview=write_preview(out, shown))


@dataclass(slots=True, kw_only=True)
class _Sayings:
    """What the sources say of each photo."""

    settings: MaskSettings
    model_file: Path | None
    static: Mapping[str, Mask | str] = field(default_factory=dict)
    detections: Mapping[str, tuple[Detection, ...] | str] = field(default_factory=dict)
    _model: SegmentationModel | None = None
    _whole: dict[tuple[int, int, int], Mask] = field(default_factory=dict)

    def of(self, photo: BoxPhoto, n_threads: int) -> Mask | None:
        """Unite what is said of a photo, note it there, and return the region if there is one."""
        said = {name: self._say(name, photo, n_threads) for name in self.settings.sources}
        regions = {n: r for n, r in said.items() if not isinstance(r, str) and r.any()}
        missing = [f"missing: {reason}" for reason in said.values() if isinstance(reason, str)]
        photo.mask = "|".join([*sorted(regions), *missing]) or "none"
        if not regions:
            photo.mask_share = float("nan") if missing and len(missing) == len(said) else 0.0
            return None
        united = np.logical_or.reduce(list(regions.values()))
        photo.mask_share = float(united.mean())
        return np.asarray(united)

    def _say(self, name: str, photo: BoxPhoto, n_threads: int) -> Mask | str:
        if name == "sequence":
            return self._static(photo)
        if name == "detections":
            return self._detected(photo)
        if self._model is None:
            self._model = SegmentationModel(self.model_file, self.settings)
        picture = read_picture(photo)
        if picture is None:
            return "the photo cannot be read"
        return _with_margin(self._model.region(picture, n_threads=n_threads))

    def _static(self, photo: BoxPhoto) -> Mask | str:
        small = self.static[photo.image_id]
        if isinstance(small, str):
            return small
        width, height = size_of(photo)
        key = (id(small), width, height)  # photos of a sequence share one small mask
        if key not in self._whole:
            smooth = cv2.resize(small.astype(np.float32), (width, height))
            self._whole[key] = np.asarray(smooth >= 0.5)
        return self._whole[key]

    def _detected(self, photo: BoxPhoto) -> Mask | str:
        found = self.detections[photo.image_id]
        if isinstance(found, str):
            return found
        wanted = self.settings.detections
        width, height = size_of(photo)
        try:
            if photo.row.get("panorama_id") is None:
                region = detected_region(found, wanted, width=width, height=height)
            else:
                coverage = coverage_of(_crop_of(photo))
                if isinstance(coverage, str):
                    return coverage
                region = detected_in_view(found, wanted, coverage, View.of_row(photo.row))
        except ImageError as error:
            return error.seen
        return _with_margin(region)


def size_of(photo: BoxPhoto) -> tuple[int, int]:
    """Width and height of a photo's file, pixels; zeros without a file."""
    return (photo.result.width, photo.result.height) if photo.result else (0, 0)


def read_picture(photo: BoxPhoto) -> NDArray[np.uint8] | None:
    """Read a photo's pixels, red, green, blue; None if they cannot be had."""
    if photo.result is None or photo.result.path is None:
        return None
    pixels = cv2.imread(str(photo.result.path), cv2.IMREAD_COLOR)
    return None if pixels is None else np.ascontiguousarray(pixels[..., ::-1], dtype=np.uint8)


def _with_margin(region: Mask) -> Mask:
    size = 2 * max(1, round(_MARGIN * region.shape[1])) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return np.asarray(cv2.dilate(region.astype(np.uint8), disc) > 0)


def _crop_of(photo: BoxPhoto) -> dict[str, object]:
    """Give what a view's row says of its panorama: how it is cropped."""
    names = ("pano_left", "pano_top", "pano_width", "pano_height")
    return {name: photo.row.get(name) for name in names}


def _detections(
    used: Sequence[BoxPhoto], source: ImageSource, progress: Progress
) -> dict[str, tuple[Detection, ...] | str]:
    """Ask the source, where it can be asked; a photo without any detection is a missing one.

    The views of a panorama share the detections of the panorama.
    """
    if not isinstance(source, DetectionSource):
        return dict.fromkeys((p.image_id for p in used), "the source has no detections")
    taken = {p.image_id: str(p.row.get("panorama_id") or p.image_id) for p in used}
    asked = list(dict.fromkeys(taken.values()))
    said = source.fetch_detections(asked, progress=progress) if asked else {}
    return {image_id: said[photo] or "no detections" for image_id, photo in taken.items()}


def _counts(used: Sequence[BoxPhoto]) -> dict[str, int | float | str]:
    parts = [str(photo.mask).split("|") for photo in used]
    reasons = Counter(part for own in parts for part in own if part.startswith("missing: "))
    shares = [photo.mask_share or 0.0 for photo in used]
    return {
        "masked": sum(share > 0 for share in shares),
        "mask_missing": sum(any(p.startswith("missing: ") for p in own) for own in parts),
        "masked_share": round(float(np.nan_to_num(shares).mean()), 4) if used else 0.0,
        **{f"mask {reason}": n for reason, n in reasons.most_common(_REASONS_COUNTED)},
    }
