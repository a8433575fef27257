"""The rules that say which photos are used; their thresholds are settings, applied late."""

from collections.abc import Sequence

from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.settings import PhotoSettings

_PANORAMA = "panorama: only its views are photos; materialize image_catalog and box_plan again"


def refuse_before_download(photos: Sequence[BoxPhoto], settings: PhotoSettings) -> None:
    """Reject what its metadata alone speak against; such photos are never fetched."""
    del settings
    for photo in photos:
        if photo.row["is_pano"]:
            photo.reject(_PANORAMA)


def refuse_by_scores(photos: Sequence[BoxPhoto], settings: PhotoSettings) -> None:
    """Reject what the pixels speak against."""
    for photo in photos:
        quality = photo.quality
        if quality is None:
            continue
        if settings.min_blur_score is not None and quality.blur_score < settings.min_blur_score:
            photo.reject("blurred")
        if quality.luminance_mean < settings.min_luminance:
            photo.reject("too dark")
