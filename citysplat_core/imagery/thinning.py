"""Keyframes: fewer photos along straight streets, all of them at crossings."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.settings import PhotoSettings


def thinned(photos: Sequence[BoxPhoto], settings: PhotoSettings) -> list[BoxPhoto]:
    """Return the photos that keyframe thinning leaves out.

    Each sequence is walked in the order in which it was taken. A stretch ends when the camera is
    ``keyframe_distance_m`` away from where it began, or has turned by ``keyframe_turn_deg``; of
    each stretch the sharpest photo is kept. Photos at crossings are all kept, and begin a new
    stretch. The n-th views of panoramas are sequences of their own.

    Args:
        photos: Open photos with scores, of one box.
        settings: Distance and turn.

    Returns:
        What to leave out, in the given order.
    """
    if settings.keyframe_distance_m <= 0:
        return []
    kept: set[str] = set()
    for _, group in groupby(sorted(photos, key=_order), key=_track):
        kept |= _keyframes(list(group), settings)
    return [photo for photo in photos if photo.image_id not in kept]


def _track(photo: BoxPhoto) -> str:
    return str(photo.row["sequence_id"] or photo.image_id)


def _order(photo: BoxPhoto) -> tuple[str, int, str]:
    return _track(photo), int(photo.row["sequence_index"]), photo.image_id


def _keyframes(track: list[BoxPhoto], settings: PhotoSettings) -> set[str]:
    kept: set[str] = set()
    stretch: list[BoxPhoto] = []
    for photo in track:
        at_crossing = bool(photo.row["is_crossing"])
        if stretch and (at_crossing or _is_over(stretch[0], photo, settings)):
            kept.add(_sharpest(stretch))
            stretch = []
        if at_crossing:
            kept.add(photo.image_id)
        else:
            stretch.append(photo)
    if stretch:
        kept.add(_sharpest(stretch))
    return kept


def _is_over(first: BoxPhoto, photo: BoxPhoto, settings: PhotoSettings) -> bool:
    east = photo.row["east_m"] - first.row["east_m"]
    north = photo.row["north_m"] - first.row["north_m"]
    turn = abs((photo.row["heading_deg"] - first.row["heading_deg"] + 180.0) % 360.0 - 180.0)
    far = float(np.hypot(east, north)) >= settings.keyframe_distance_m
    return far or turn > settings.keyframe_turn_deg  # an unknown heading is no turn


def _sharpest(stretch: list[BoxPhoto]) -> str:
    def sharpness(photo: BoxPhoto) -> float:
        return photo.quality.blur_score if photo.quality is not None else -np.inf

    return max(stretch, key=sharpness).image_id
