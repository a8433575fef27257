"""A sketch of the box: poses of all photos at once from the matches that surely agree.

Positions by depth and offset are good to half a metre and headings to a degree, which lets every
third look-alike window pass. The sure matches know far more: solved together, with GPS and gravity
at every photo, they place neighbours to 0.1 or 0.2 m. Nothing is believed of a photo that they
do not fit.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.bundle import adjust_bundle, upright
from citysplat_core.matching.consensus import median_of
from citysplat_core.matching.pairs import NO_SEQUENCE
from citysplat_core.matching.sightings import Bundle, Sightings
from citysplat_core.matching.strays import find_strays
from citysplat_core.matching.surroundings import MatchDepths
from citysplat_core.matching.tracks import Tracks, choose_tracks

_LEAST_SIGHTINGS: Final = 20
_MOST_MISS: Final = 0.005
"""Usual miss of a photo's points, tangents; sure photos have 0.0005 to 0.001."""
_FARTHEST_M: Final = 10.0
"""Farther than this from where it started a photo has gone astray."""
_LEAST_UPRIGHT: Final = 0.85
"""Cosine of the lean."""
_START_DEPTH_M: Final = 15.0
"""Where points start of which no depth is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """Poses by all sure matches together.

    Attributes:
        rotation: Camera (x right, y down, z forward) from east, north, up; with NaN where neither
            the matches nor a heading say anything, shape (N, 3, 3).
        centre_m: East and north as the photos', up from their common height, shape (N, 3).
        focal: True focal length of each photo as a share of the supposed one, 1 where nothing is
            known, shape (N,).
        radial: First radial term of each photo beside the supposed ones, shape (N,).
        is_known: Photos that the sure matches place, shape (N,); others are as they were given.
    """

    rotation: NDArray[np.float64]
    centre_m: NDArray[np.float64]
    focal: NDArray[np.float64]
    radial: NDArray[np.float64]
    is_known: NDArray[np.bool_]

    @classmethod
    def unknown(
        cls, east_north_m: NDArray[np.float64], heading_deg: NDArray[np.float64]
    ) -> "Sketch":
        """Return the sketch that knows no photo: upright cameras where they are given."""
        count = len(east_north_m)
        return cls(
            rotation=upright(heading_deg),
            centre_m=_with_height(east_north_m),
            focal=np.ones(count), radial=np.zeros(count), is_known=np.zeros(count, dtype=bool),
        )  # fmt: skip

    @property
    def heading_deg(self) -> NDArray[np.float64]:
        """Headings, clockwise from north, shape (N,)."""
        forward = self.rotation[:, 2]
        return np.asarray(np.degrees(np.arctan2(forward[:, 0], forward[:, 1])) % 360.0)


def draw_sketch(  # noqa: PLR0913 - all that is known of the photos
    depths: MatchDepths,
    believed: NDArray[np.bool_],
    *,
    gps_m: NDArray[np.float64],
    correction_m: NDArray[np.float64],
    heading_deg: NDArray[np.float64],
    sequence: NDArray[np.int64],
    along: NDArray[np.int64],
    gps_sigma_m: float,
    before: Sketch | None = None,
) -> Sketch:
    """Solve the poses of all photos from the matches that are believed.

    Args:
        depths: Keypoints with their photos and depths, and which of them each match joins.
        believed: Matches to be used, shape (M,).
        gps_m: East and north by GPS, metres, shape (N, 2).
        correction_m: What the matches add to it, shape (N, 2).
        heading_deg: First headings; photos with NaN take no part, shape (N,).
        sequence: Sequence numbers; photos of one share a lens, shape (N,).
        along: Rows (i, j) of photos that follow each other in a sequence, shape (S, 2).
        gps_sigma_m: Error of a position.
        before: An earlier sketch of the photos, whose lenses are taken to start with.
    """
    n_photos = len(gps_m)
    start_m = _with_height(gps_m + correction_m)
    first = upright(heading_deg)
    has_heading = np.isfinite(heading_deg)
    believed = believed & has_heading[depths.owner[depths.place]].all(axis=1)
    if not believed.any():
        return Sketch.unknown(gps_m + correction_m, heading_deg)
    tracks = choose_tracks(depths.place, depths.owner, believed, n_photos)
    sightings = Sightings(
        photo=tracks.photo,
        point=tracks.point,
        bearing=depths.bearing[tracks.keypoint].astype(np.float64),
        lens=_lenses(sequence),
    )
    rotation = np.where(has_heading[:, None, None], first, np.eye(3))
    point_m = _start_points(depths, tracks, sightings, rotation, start_m)
    focal, radial = _start_lenses(sightings.lens, before)
    solved = adjust_bundle(
        Bundle(
            rotation=rotation, centre_m=start_m, point_m=point_m,
            focal=focal, radial=radial,
        ), sightings,
        gps_m=_with_height(gps_m), gps_sigma_m=gps_sigma_m, along=along,
    )  # fmt: skip
    is_known = _is_sure(solved, sightings, start_m)
    is_known &= ~find_strays(solved.centre_m[:, :2] - gps_m, is_known, along)
    return Sketch(
        rotation=np.where(is_known[:, None, None], solved.rotation, first),
        centre_m=np.where(is_known[:, None], solved.centre_m, start_m),
        focal=np.where(is_known, solved.focal[sightings.lens], 1.0),
        radial=np.where(is_known, solved.radial[sightings.lens], 0.0),
        is_known=is_known,
    )


def _with_height(east_north_m: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([east_north_m, np.zeros((len(east_north_m), 1))], axis=1)


def _lenses(sequence: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the lenses: one a sequence, and one for each photo without one."""
    alone = sequence == NO_SEQUENCE
    own = np.where(alone, sequence.max(initial=0) + 1 + np.arange(len(sequence)), sequence)
    return np.unique(own, return_inverse=True)[1].astype(np.int64)


def _start_lenses(
    lens: NDArray[np.int64], before: Sketch | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take focal lengths and radial terms from a sketch, else as they are said to be; (L,) each."""
    n_lenses = int(lens.max(initial=0)) + 1
    focal, radial = np.ones(n_lenses), np.zeros(n_lenses)
    if before is not None:
        known = lens[before.is_known]
        focal[known], radial[known] = before.focal[before.is_known], before.radial[before.is_known]
    return focal, radial


def _start_points(
    depths: MatchDepths,
    tracks: Tracks,
    sightings: Sightings,
    rotation: NDArray[np.float64],
    centre_m: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Put each point in the middle of where its photos see it, shape (P, 3)."""
    photo, point = sightings.photo, sightings.point
    ray = np.concatenate([sightings.bearing, np.ones((len(photo), 1))], axis=1)
    way = np.einsum("oji,oj->oi", rotation[photo], ray)
    depth_m = depths.keypoint_depth_m[tracks.keypoint]
    n_points = tracks.n_points
    told = np.bincount(point, np.isfinite(depth_m), n_points)
    depth_m = np.where(told[point] > 0, depth_m, _START_DEPTH_M)
    weight = np.isfinite(depth_m).astype(np.float64)
    place = centre_m[photo] + way * np.nan_to_num(depth_m)[:, None]
    total = np.maximum(np.bincount(point, weight, n_points), 1.0)
    sums = [np.bincount(point, weight * place[:, axis], n_points) for axis in range(3)]
    return np.asarray(np.stack(sums, axis=1) / total[:, None])


def _is_sure(
    solved: Bundle, sightings: Sightings, start_m: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Say which photos have enough points that fit, and still stand upright where they were."""
    n_photos = len(start_m)
    count = np.bincount(sightings.photo, minlength=n_photos)
    usual = median_of(sightings.photo, solved.misses(sightings), n_photos)
    moved = np.hypot(*(solved.centre_m - start_m)[:, :2].T)
    stands = -solved.rotation[:, 1, 2] > _LEAST_UPRIGHT
    fits = (count >= _LEAST_SIGHTINGS) & (usual < _MOST_MISS)
    return np.asarray(fits & stands & (moved < _FARTHEST_M))
