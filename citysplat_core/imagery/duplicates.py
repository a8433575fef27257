"""Near-duplicates: photos that show the same from the same place at the same time."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.settings import PhotoSettings

_MOVES_M_S = 0.5
_MOVES_M = 0.25


def near_duplicates(photos: Sequence[BoxPhoto], settings: PhotoSettings) -> list[BoxPhoto]:
    """Return the photos that a sharper photo makes superfluous.

    Two photos are near-duplicates when they lie close, were taken within a short time and their
    perceptual hashes differ in a few bits at most: the same photo uploaded twice, or a camera that
    stands. Frames of one moving camera look alike too, and are not: their views differ, which is
    what a reconstruction lives on. Views of one panorama never are.

    Args:
        photos: Open photos with scores.
        settings: Distance, time and bits.

    Returns:
        What to leave out, in the given order; the same for any order of ``photos``.
    """
    if settings.duplicate_bits is None or len(photos) < 2:
        return []
    rank = sorted(range(len(photos)), key=lambda k: (-_sharpness(photos[k]), photos[k].image_id))
    partners: dict[int, list[int]] = {}
    for a, b in _alike(photos, settings).tolist():
        partners.setdefault(a, []).append(b)
        partners.setdefault(b, []).append(a)
    kept: set[int] = set()
    for k in rank:
        if kept.isdisjoint(partners.get(k, ())):
            kept.add(k)
    return [photo for k, photo in enumerate(photos) if k not in kept]


def _sharpness(photo: BoxPhoto) -> float:
    return photo.quality.blur_score if photo.quality is not None else -np.inf


def _alike(photos: Sequence[BoxPhoto], settings: PhotoSettings) -> NDArray[np.int64]:
    """Return the pairs of near-duplicates, shape (P, 2)."""
    east_north = np.array([[p.row["east_m"], p.row["north_m"]] for p in photos], float)
    pairs = KDTree(east_north).query_pairs(settings.duplicate_within_m, output_type="ndarray")
    a, b = pairs[:, 0], pairs[:, 1]
    hashes = np.array([int(p.quality.dhash, 16) if p.quality else 0 for p in photos], np.uint64)
    times = np.array([_seconds(photo) for photo in photos])
    close = np.bitwise_count(hashes[a] ^ hashes[b]) <= settings.duplicate_bits
    close &= ~(np.abs(times[a] - times[b]) > settings.duplicate_within_s)
    close &= ~_same(photos, "panorama_id", pairs)
    far = np.hypot(*(east_north[a] - east_north[b]).T)
    speed = np.array([photo.row["speed_m_s"] for photo in photos], float)
    slower = np.fmin(speed[a], speed[b])
    moves = np.where(np.isfinite(slower), slower >= _MOVES_M_S, far >= _MOVES_M)
    close &= ~(_same(photos, "sequence_id", pairs) & moves)
    return np.asarray(pairs[close], np.int64)


def _same(photos: Sequence[BoxPhoto], name: str, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which pairs share a value that is not null."""
    values = [photo.row.get(name) for photo in photos]
    numbers = {value: k for k, value in enumerate(dict.fromkeys(values))}
    coded = np.array([-1 if value is None else numbers[value] for value in values])
    first, second = coded[pairs[:, 0]], coded[pairs[:, 1]]
    return np.asarray((first == second) & (first >= 0))


def _seconds(photo: BoxPhoto) -> float:
    taken = photo.row["captured_at"]
    return float("nan") if taken is None else float(taken.timestamp())
