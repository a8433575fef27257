"""Why two photos are not worth a comparison, told before it is made."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.pairs import NO_PANORAMA, NO_SEQUENCE
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.standing import NO_STAY, idle_photos
from citysplat_core.matching.view_cone import (
    FAR_WALLS_M,
    NEAR_WALLS_M,
    Array,
    Views,
    kernel,
    overlap,
    views_of,
)
from citysplat_core.settings import MatchingSettings

REASONS: Final = (
    "",
    "views of one panorama",
    "distance",
    "time",
    "stationary",
    "heading",
    "view cone",
)
"""What the gates can say, by number; the first lets a pair through."""

PANORAMA, DISTANCE, TIME, STATIONARY, HEADING, VIEW_CONE = range(1, len(REASONS))

_SAME_HEADING: Final = math.cos(math.radians(10.0))
_UNKNOWN_TIME: Final = np.iinfo(np.int64).min


class Limits(NamedTuple):
    """Limits of the gates; a negative one is not asked.

    Attributes:
        distance_m: Largest distance.
        cosine: Smallest cosine between two headings.
        time_ms: Largest time between two captures.
        stationary_m: Photos of one creator closer than this that look one way show one thing; 0
            asks nothing of cameras that stand.
        overlap: Least predicted overlap.
    """

    distance_m: float
    cosine: float
    time_ms: float
    stationary_m: float
    overlap: float


class Scene(NamedTuple):
    """What the gates know of N photos."""

    views: Views
    sequence: Array
    creator: Array
    captured_at: Array
    panorama: Array
    side: Array
    stay: Array
    idle: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """What the gates said of some pairs.

    Attributes:
        reason: Number in ``REASONS``, 0 for a pair that passed, shape (P,), int8.
        overlap: Predicted overlap, 0 where an earlier gate refused, shape (P,), float32.
    """

    reason: NDArray[np.int8]
    overlap: NDArray[np.float32]

    def counts(self) -> dict[str, int]:
        """Count the refused pairs by reason."""
        numbers = np.bincount(self.reason, minlength=len(REASONS))
        return {REASONS[n]: int(numbers[n]) for n in range(1, len(REASONS)) if numbers[n]}


def scene_of(photos: Photos, heading_deg: NDArray[np.float64], *, far: bool = False) -> Scene:
    """Prepare photos for the gates.

    Args:
        photos: The photos.
        heading_deg: Headings that are believed, degrees, NaN for none, shape (N,).
        far: Look for common surfaces across a valley and not in a street.
    """
    count = len(photos)
    nothing = np.full(count, NO_PANORAMA, dtype=np.int64)
    stay = np.full(count, NO_STAY, dtype=np.int64) if photos.stay is None else photos.stay
    walls_m = FAR_WALLS_M if far else NEAR_WALLS_M
    return Scene(
        views=views_of(photos.east_north_m, heading_deg, photos.half_view, walls_m=walls_m),
        sequence=_copied(photos.sequence),
        creator=nothing if photos.creator is None else _copied(photos.creator),
        captured_at=_copied(photos.captured_at),
        panorama=nothing if photos.panorama is None else _copied(photos.panorama),
        side=_copied(photos.side),
        stay=_copied(stay),
        idle=np.zeros(count, dtype=bool)
        if photos.stay is None
        else idle_photos(stay, photos.captured_at),
    )


def _copied(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the kernels one kind of array: see `view_cone.views_of`."""
    return np.array(numbers, dtype=np.int64)


def limits_of(settings: MatchingSettings, *, distance_m: float) -> Limits:
    """Take the limits of the gates from the settings.

    Args:
        settings: Matching settings.
        distance_m: Largest distance, which depends on the source of the pairs.
    """
    days = settings.max_time_gap_days
    return Limits(
        distance_m=distance_m,
        cosine=math.cos(math.radians(settings.max_turn_deg)) - 1e-9,
        time_ms=-1.0 if days is None else days * 86_400_000.0,
        stationary_m=settings.stationary_m,
        overlap=settings.min_overlap,
    )


@kernel
def gate(  # noqa: PLR0911 - one gate after the other, the cheap ones first
    scene: Array, limits: Array, i: int, j: int
) -> tuple[int, float]:
    """Say by number why two photos are not compared (0: they are), and their predicted overlap."""
    views = scene.views
    if scene.panorama[i] == scene.panorama[j] and scene.panorama[i] != NO_PANORAMA:
        return PANORAMA, 0.0
    east, north = views.east_m[i] - views.east_m[j], views.north_m[i] - views.north_m[j]
    square = east * east + north * north
    if square > limits.distance_m * limits.distance_m:
        return DISTANCE, 0.0
    times = scene.captured_at[i], scene.captured_at[j]
    dated = times[0] != _UNKNOWN_TIME and times[1] != _UNKNOWN_TIME
    if limits.time_ms >= 0.0 and dated and abs(times[0] - times[1]) > limits.time_ms:
        return TIME, 0.0
    if limits.stationary_m > 0.0:
        one_stay = scene.stay[i] == scene.stay[j] and scene.stay[i] != NO_STAY
        if one_stay or scene.idle[i] or scene.idle[j]:
            return STATIONARY, 0.0
    known = views.known[i] and views.known[j]
    cosine = views.sine[i] * views.sine[j] + views.cosine[i] * views.cosine[j]
    one_taker = (scene.sequence[i] == scene.sequence[j] and scene.sequence[i] != NO_SEQUENCE) or (
        scene.creator[i] == scene.creator[j] and scene.creator[i] >= 0
    )
    still = square < limits.stationary_m * limits.stationary_m
    if one_taker and still and known and cosine > _SAME_HEADING:
        return STATIONARY, 0.0
    if known and cosine < limits.cosine:
        return HEADING, 0.0
    share = overlap(views, i, j)
    if share < limits.overlap:
        return VIEW_CONE, share
    return 0, share


@kernel
def _gate_all(scene: Array, limits: Array, first: Array, second: Array) -> tuple[Array, Array]:
    reason = np.zeros(len(first), dtype=np.int8)
    share = np.zeros(len(first), dtype=np.float32)
    for k in range(len(first)):
        reason[k], share[k] = gate(scene, limits, first[k], second[k])
    return reason, share


def gate_pairs(scene: Scene, pairs: NDArray[np.int32], limits: Limits) -> Gated:
    """Ask every gate about some pairs.

    Args:
        scene: The photos, from `scene_of`.
        pairs: Rows (i, j), shape (P, 2).
        limits: The limits, from `limits_of`.
    """
    rows = pairs.astype(np.int64)
    reason, share = _gate_all(scene, limits, rows[:, 0].copy(), rows[:, 1].copy())
    return Gated(reason=reason, overlap=share)
