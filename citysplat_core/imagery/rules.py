"""The rules that say which photos are used; their thresholds are settings, applied late.

Scores are stored and never depend on a threshold: a changed rule judges again, and fetches and
scores nothing that is there. A refused photo stays in the tables with its reason.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.duplicates import near_duplicates
from citysplat_core.imagery.quality import Quality
from citysplat_core.imagery.thinning import thinned
from citysplat_core.settings import PhotoSettings

_PANORAMA = "panorama: only its views are photos; materialize image_catalog and box_plan again"
NIGHT = "night"
JUMP = "position jump"
BIAS = "position bias"
FAST = "too fast"
STATIONARY = "stationary"
BLURRED = "blurred"
DARK = "too dark"
BRIGHT = "overexposed"
FLAT = "no contrast"
DUPLICATE = "near-duplicate"
THINNED = "thinned"

SUPERFLUOUS = (STATIONARY, DUPLICATE, THINNED)
"""Reasons that say nothing against a photo: others show the same."""

Row = dict[str, Any]


def refuse_before_download(photos: Sequence[BoxPhoto], settings: PhotoSettings) -> None:
    """Reject what its metadata alone speak against; such photos are never fetched.

    Args:
        photos: With the metadata scores in their rows.
        settings: The thresholds.
    """
    for photo in photos:
        if photo.row["is_pano"]:
            photo.reject(_PANORAMA)
        for reason, applies in _METADATA_RULES.items():
            if applies(photo.row, settings):
                photo.reject(reason)


def refuse_by_scores(photos: Sequence[BoxPhoto], settings: PhotoSettings) -> None:
    """Reject what the pixels speak against, then near-duplicates, then what thinning leaves out.

    Args:
        photos: Those that are open have their scores.
        settings: The thresholds.
    """
    for photo in photos:
        for reason, speaks in _PIXEL_RULES.items():
            if photo.quality is not None and speaks(photo.quality, settings):
                photo.reject(reason)
    for photo in near_duplicates(_open(photos), settings):
        photo.reject(DUPLICATE)
    for photo in thinned(_open(photos), settings):
        photo.reject(THINNED)


def _open(photos: Sequence[BoxPhoto]) -> list[BoxPhoto]:
    return [photo for photo in photos if photo.is_open and photo.quality is not None]


def _is_night(row: Row, settings: PhotoSettings) -> bool:
    least = settings.min_sun_deg
    return least is not None and row["source"] != "folder" and row["sun_elevation_deg"] < least


def _jumps(row: Row, settings: PhotoSettings) -> bool:
    jump = "computed_jump_m" if row["position_source"] == "computed" else "gps_jump_m"
    return settings.max_jump_m is not None and row[jump] > settings.max_jump_m


def _is_biased(row: Row, settings: PhotoSettings) -> bool:
    if settings.max_bias_m is None or row["position_source"] == "computed":
        return False
    return float(np.hypot(row["bias_east_m"], row["bias_north_m"])) > settings.max_bias_m


def _is_fast(row: Row, settings: PhotoSettings) -> bool:
    return settings.max_speed_m_s is not None and row["speed_m_s"] > settings.max_speed_m_s


def _is_one_of_many(row: Row, settings: PhotoSettings) -> bool:
    keep, length = settings.max_stationary, row["still_length"]
    if keep is None or row["still_run"] < 0 or length <= keep:
        return False
    return row["still_rank"] not in np.linspace(0, length - 1, keep).round().astype(int).tolist()


def _is_blurred(quality: Quality, settings: PhotoSettings) -> bool:
    return settings.min_blur_score is not None and quality.blur_score < settings.min_blur_score


def _is_dark(quality: Quality, settings: PhotoSettings) -> bool:
    too_dark = quality.luminance_mean < settings.min_luminance
    return too_dark or quality.dark_share > settings.max_dark_share


_METADATA_RULES: dict[str, Callable[[Row, PhotoSettings], bool]] = {
    NIGHT: _is_night,
    JUMP: _jumps,
    BIAS: _is_biased,
    FAST: _is_fast,
    STATIONARY: _is_one_of_many,
}
_PIXEL_RULES: dict[str, Callable[[Quality, PhotoSettings], bool]] = {
    BLURRED: _is_blurred,
    DARK: _is_dark,
    BRIGHT: lambda quality, settings: quality.bright_share > settings.max_bright_share,
    FLAT: lambda quality, settings: quality.luminance_std < settings.min_contrast,
}
"""In the order in which they speak: the first reason counts."""
