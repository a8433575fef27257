"""What stays in place in a sequence while the camera moves: bonnet, banner, rider, watermark.

A road, a sky or a wall is alike in every photo too. What tells them apart is fine structure: the
edge of a bonnet has the same direction at the same pixel in every photo, the edges of the world
wander. Each photo gives every pixel its gradient, shortened to at most one so that exposure and
contrast do not count; the length of the mean over the photos against their root mean square is 1
for what never moves and falls with the number of photos for all else. (Median gradients find
watermarks the same way: Dekel et al., CVPR 2017, "On the Effectiveness of Visible Watermarks".)
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from citysplat_core.imagery.masks.filling import covered_region

Gray = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

WIDTH_PX = 256
"""Width that photos are looked at in."""
MOST_PHOTOS = 48
"""So many photos of a sequence are looked at, spread evenly."""

_STEP_M = 3.0
_TRAVEL_M = 25.0
_NOISE_GRAY = 4.0
_MIN_STRENGTH = 0.12
_MIN_STRENGTH_FAR = 0.4
_MIN_STEADY = 0.9
_MIN_STEADY_BESIDE = (0.6, 0.9)  # a + b / sqrt(n photos): chance makes few photos look steady
_FAR_ABOVE = 0.6
_MAX_SHARE = 0.5
_LEG_M = 15.0
_TURN_DEG = 30.0
_FULL_GROUP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The photos of a sequence that can show what stays in place.

    Attributes:
        rows: Positions in the list that was asked about, in its order.
        groups: Number of the direction of travel of each, from 0.
    """

    rows: tuple[int, ...]
    groups: tuple[int, ...]


def chosen_photos(east_north_m: Floats, *, min_photos: int) -> Chosen | str:
    """Choose photos that were taken apart from each other.

    Args:
        east_north_m: Positions in order of capture, metres, shape (N, 2).
        min_photos: Fewer photos that moved show nothing.

    Returns:
        The photos, or why there are not enough.
    """
    rows: list[int] = []
    for row, place in enumerate(east_north_m):
        if not np.isfinite(place).all():
            continue
        if not rows or np.hypot(*(place - east_north_m[rows[-1]])) >= _STEP_M:
            rows.append(row)
    if len(rows) < min_photos:
        return "too few photos of the sequence that moved"
    if len(rows) > MOST_PHOTOS:
        even = np.linspace(0, len(rows) - 1, MOST_PHOTOS).round().astype(int)
        rows = [rows[i] for i in even]
    places = east_north_m[rows]
    if float(np.hypot(*np.ptp(places, axis=0))) < _TRAVEL_M:
        return "the sequence hardly moved"
    return Chosen(rows=tuple(rows), groups=tuple(_direction_groups(places)))


def _direction_groups(places: Floats) -> list[int]:
    """Number the directions of travel; a leg is long enough for GPS noise not to matter."""
    found: list[float] = []
    groups: list[int] = []
    for k in range(len(places)):
        leg = _leg_around(places, k)
        if leg is None:
            groups.append(groups[-1] if groups else 0)
            continue
        heading = float(np.degrees(np.arctan2(leg[0], leg[1])))
        turns = [abs((heading - other + 180.0) % 360.0 - 180.0) for other in found]
        near = next((i for i, turn in enumerate(turns) if turn <= _TURN_DEG), None)
        if near is None:
            found.append(heading)
            near = len(found) - 1
        groups.append(near)
    return groups


def _leg_around(places: Floats, k: int) -> Floats | None:
    """Vector of the way around a photo, at least ``_LEG_M`` long, or None."""
    for reach in range(1, len(places)):
        before, after = places[max(0, k - reach)], places[min(len(places) - 1, k + reach)]
        if np.hypot(*(after - before)) >= _LEG_M:
            leg: Floats = after - before
            return leg
    return None


def static_region(photos: Iterable[Gray], groups: tuple[int, ...]) -> Mask | str:
    """Find what stays in place.

    What is far away stays in place too while a car drives straight on: clouds, a tower at the end
    of the street. The upper part of the picture is judged only when the car also turned, and then
    every direction counts the same.

    Args:
        photos: Luminance of photos of one size, uint8, shape (H, W), ``WIDTH_PX`` wide.
        groups: Direction of travel of each.

    Returns:
        True where the photos show what moves with the camera, shape (H, W); or why nothing can
        be said. The same photos give the same mask.
    """
    sizes = np.bincount(groups)
    total, power, weights, squares = None, None, 0.0, 0.0
    for photo, group in zip(photos, groups, strict=True):
        vector = _bounded_gradient(photo)
        weight = 1.0 / max(int(sizes[group]), _FULL_GROUP)
        square = (vector**2).sum(axis=2)
        total = weight * vector if total is None else total + weight * vector
        power = weight * square if power is None else power + weight * square
        weights, squares = weights + weight, squares + weight**2
    if total is None or power is None:
        return "no photos"
    strength = np.sqrt(power / weights)
    steady = np.linalg.norm(total / weights, axis=2) / np.maximum(strength, 1e-6)
    least = np.full(strength.shape, _MIN_STRENGTH)
    turned = int((sizes >= _FULL_GROUP).sum()) > 1
    least[: int(_FAR_ABOVE * len(least))] = _MIN_STRENGTH_FAR if turned else np.inf
    strong = strength >= least
    beside = _MIN_STEADY_BESIDE[0] + _MIN_STEADY_BESIDE[1] * squares**0.5 / weights
    region = covered_region(strong & (steady >= _MIN_STEADY), strong & (steady >= beside))
    if region.mean() > _MAX_SHARE:
        return "the photos are too alike to tell what stays in place"
    return region


def _bounded_gradient(photo: Gray) -> NDArray[np.float32]:
    """Gradient per pixel, shortened to a length below 1, shape (H, W, 2)."""
    smooth = cv2.GaussianBlur(photo.astype(np.float32), (0, 0), 0.8)
    x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    shrink = 1.0 / (cv2.magnitude(x, y) + _NOISE_GRAY)
    return np.stack([x * shrink, y * shrink], axis=2)
