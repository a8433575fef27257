"""From edges that stay in place to the region that they enclose, out to the picture's border."""

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

_JOIN = 0.035  # edges closer than this share of the width belong together
_MIN_EDGE_PX = 0.0008  # share of the picture's pixels that a thing has at least as edges
_REACH = 0.04  # a thing this close to a border reaches it, however small
_MAX_REACH = 0.3  # the same for one that spans half of the border


def covered_region(edges: Mask, likely: Mask) -> Mask:
    """Fill the things that static edges outline.

    Edges that lie close to each other are one thing. A thing near a border is filled up to the
    border (a bonnet shows its rim only; what it mirrors moves), and holes are filled.

    Args:
        edges: True at edges that stay in place, shape (H, W).
        likely: The same by a weaker rule; counts where it touches such an edge.

    Returns:
        True where the picture shows things that stay in place, shape (H, W).
    """
    width = edges.shape[1]
    joined = _closed(_grown(edges, likely), round(_JOIN * width))
    count, labels, _, _ = cv2.connectedComponentsWithStats(joined.astype(np.uint8), connectivity=8)
    region = np.zeros_like(edges)
    for label in range(1, count):
        thing = labels == label
        if int((edges & thing).sum()) >= _MIN_EDGE_PX * edges.size:
            region |= _filled(thing)
    if not region.any():
        return region
    region = _without_holes(_closed(region, round(_JOIN * width)))
    return np.asarray(cv2.dilate(region.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _grown(edges: Mask, likely: Mask) -> Mask:
    """Give the connected parts of ``likely`` that hold an edge."""
    _, labels = cv2.connectedComponents((edges | likely).astype(np.uint8), connectivity=8)
    kept = np.zeros(int(labels.max()) + 1, dtype=bool)
    kept[np.unique(labels[edges])] = True
    kept[0] = False
    return np.asarray(kept[labels])


def _closed(mask: Mask, radius: int) -> Mask:
    """Close gaps up to twice the radius; the picture's border is no obstacle."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    wide = cv2.copyMakeBorder(
        mask.astype(np.uint8), radius, radius, radius, radius, cv2.BORDER_REPLICATE
    )
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, disc)
    return np.asarray(closed[radius:-radius, radius:-radius] > 0)


def _filled(thing: Mask) -> Mask:
    """Fill a thing towards the borders that it is close to."""
    region = thing.copy()
    for turns in range(4):  # towards the bottom, then the right, the top and the left
        turned = np.rot90(thing, turns)
        if _reaches_bottom(turned):
            below = np.maximum.accumulate(turned, axis=0)
            region |= np.rot90(below, -turns)
    return region


def _reaches_bottom(thing: Mask) -> bool:
    """Say whether a thing is close to the bottom, for its width."""
    height, width = thing.shape
    rows, columns = np.flatnonzero(thing.any(axis=1)), np.flatnonzero(thing.any(axis=0))
    span = (columns[-1] - columns[0] + 1) / width
    reach = min(_MAX_REACH, _REACH + span**2)
    return bool(rows[-1] >= (1.0 - reach) * height - 1)


def _without_holes(mask: Mask) -> Mask:
    """Fill what is enclosed; the largest open part is the view and stays open."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        (~mask).astype(np.uint8), connectivity=4
    )
    if count < 3:
        return mask
    view = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.asarray(labels != view)
