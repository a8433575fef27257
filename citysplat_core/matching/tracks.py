"""Tracks: keypoints of several photos that matches tie together, one point of the town each."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_ENOUGH: Final = 120
"""Keypoints of a photo in chosen tracks from which on it asks for no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """Sightings of P points, one row each, track by track.

    Attributes:
        keypoint: Number of the keypoint among all those of the matches, shape (O,).
        photo: Row of its photo, shape (O,).
        point: Number of the point, 0 to P - 1, ascending, shape (O,).
    """

    keypoint: NDArray[np.intp]
    photo: NDArray[np.int64]
    point: NDArray[np.int64]

    @property
    def n_points(self) -> int:
        """Count the points."""
        return int(self.point[-1]) + 1 if len(self.point) else 0


def choose_tracks(
    place: NDArray[np.intp], owner: NDArray[np.int64], believed: NDArray[np.bool_], n_photos: int
) -> Tracks:
    """Join matches to tracks and choose the longest, until every photo has enough of them.

    A track that holds two keypoints of one photo joins two things and is left out.

    Args:
        place: Numbers of the keypoints that each match joins, shape (M, 2).
        owner: Photo row of each keypoint, shape (K,).
        believed: Matches to be used, shape (M,).
        n_photos: How many photos there are.
    """
    first, second = place[believed].T
    joins = coo_array((np.ones(len(first)), (first, second)), shape=(len(owner), len(owner)))
    _, label = connected_components(joins, directed=False)
    keypoint = np.unique(place[believed])
    order = np.lexsort((owner[keypoint], label[keypoint]))
    keypoint = keypoint[order]
    photo, label = owner[keypoint], label[keypoint]
    twice = (label[1:] == label[:-1]) & (photo[1:] == photo[:-1])
    whole = ~np.isin(label, label[1:][twice])
    keypoint, photo = keypoint[whole], photo[whole]
    _, point, count = np.unique(label[whole], return_inverse=True, return_counts=True)
    chosen = _longest(photo, count, n_photos)[point]
    return Tracks(
        keypoint=keypoint[chosen],
        photo=photo[chosen],
        point=np.unique(point[chosen], return_inverse=True)[1].astype(np.int64),
    )


def _longest(
    photo: NDArray[np.int64], count: NDArray[np.int64], n_photos: int
) -> NDArray[np.bool_]:
    """Say which tracks are chosen; ``photo`` lists their photos, track by track."""
    ends = np.cumsum(count)
    chosen = np.zeros(len(count), dtype=bool)
    has = np.zeros(n_photos, dtype=np.int64)
    for track in np.argsort(-count, kind="stable").tolist():
        own = photo[ends[track] - count[track] : ends[track]]
        if (has[own] < _ENOUGH).any():
            chosen[track] = True
            has[own] += 1
    return chosen
