"""What every single match of the verified pairs says for or against its pair.

Look-alike houses pass every test of two images, and a street of them gives a two-view geometry of
which half the matches are true. So each match is asked by itself: do both photos put its point in
one place on the map? Positions and headings are those that most pairs agree on.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.bundle import upright
from citysplat_core.matching.consensus import (
    LEAST_POINTS,
    measure_offsets,
    median_of,
    settle_positions,
)
from citysplat_core.matching.depths import find_depths
from citysplat_core.matching.headings import settle_headings
from citysplat_core.matching.inliers import Inliers
from citysplat_core.matching.pairs import NO_SEQUENCE
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.scene import SIGMAS, Scene
from citysplat_core.matching.street_map import add_street_depths
from citysplat_core.matching.surroundings import MatchDepths, complete_depths
from citysplat_core.matching.verify import Edges
from citysplat_core.matching.yaws import Yaws, solve_yaws

_NEAR_STEPS: Final = 8
"""Photos this near in their sequence lend each other depths."""
_SHORTEST_M: Final = 1.0
_MOST_TURN_ERROR_DEG: Final = 4.0
_MOST_DIRECTION_ERROR_DEG: Final = 20.0
_STEP_ERROR_M: Final = 1.5
_PLACE_SIGMA_M: Final = 0.6
"""Error of a place by the corrected positions of two photos."""
_HEADING_SIGMA: Final = 0.025
"""Error of a place by headings, as a share of its distance: about 1.4 degrees."""
CLOSE_M: Final = 3.5
"""Photos this near see anything but the nearest in one direction, whatever its depth."""
_NEXT_STEPS: Final = 2
_MANY_INLIERS: Final = 40
_USUAL_DEVIATION: Final = 0.35
"""Median deviation of matches between next photos; 0.1 to 0.4 in a simulated town."""
_POOR_DEVIATION: Final = 0.5
"""Only sequences beyond this are excused: else half the far matches of look-alikes pass."""
_MOST_MISFIT: Final = 2.0
_ROUNDS: Final = 3
LEAST_TESTED: Final = 8
"""Matches that must have something to say for their pair to count as tested."""
_BELIEVED_SHARE: Final = 0.5
"""Pairs of which a smaller share agrees lend the second round nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Verdicts on matches, and what they rest on.

    Attributes:
        verdict: 1 for, -1 against, 0 nobody can tell, shape (M,).
        n_for: Matches of each pair that agree, shape (E,).
        n_against: Matches that do not, shape (E,).
        yaws: Headings of all photos.
        correction_m: East and north to be added to the GPS positions, shape (N, 2).
        steps: Photos from one to the other along a sequence, 0 for pairs of two, shape (E,).
        depths: Depths that the verdicts rest on.
        is_sketched: Pairs of two photos that a sketch places, shape (E,).
    """

    verdict: NDArray[np.int8]
    n_for: NDArray[np.int64]
    n_against: NDArray[np.int64]
    yaws: Yaws
    correction_m: NDArray[np.float64]
    steps: NDArray[np.int64]
    depths: MatchDepths
    is_sketched: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        verdict: NDArray[np.int8],
        edge: NDArray[np.int32],
        n_edges: int,
        *,
        yaws: Yaws,
        correction_m: NDArray[np.float64],
        steps: NDArray[np.int64],
        depths: MatchDepths,
        is_sketched: NDArray[np.bool_],
    ) -> "Evidence":
        """Count the verdicts of each pair."""
        return cls(
            verdict=verdict,
            n_for=np.bincount(edge, verdict > 0, n_edges).astype(np.int64),
            n_against=np.bincount(edge, verdict < 0, n_edges).astype(np.int64),
            yaws=yaws, correction_m=correction_m, steps=steps, depths=depths,
            is_sketched=is_sketched,
        )  # fmt: skip

    @property
    def is_tested(self) -> NDArray[np.bool_]:
        """Pairs of which enough matches have something to say, shape (E,)."""
        return np.asarray(self.n_for + self.n_against >= LEAST_TESTED)

    @property
    def share_for(self) -> NDArray[np.float64]:
        """Share of the matches that agree among those that can tell, 0 if none can, shape (E,)."""
        return np.asarray(self.n_for / np.maximum(self.n_for + self.n_against, 1))


def weigh_matches(
    photos: Photos, edges: Edges, inliers: Inliers, *, gps_sigma_m: float, max_distance_m: float
) -> Evidence:
    """Ask every match of every pair whether its two photos put it in one place.

    Args:
        photos: The photos, with GPS and compass.
        edges: Verified pairs.
        inliers: All their inlier matches.
        gps_sigma_m: Error of a position against another's, metres.
        max_distance_m: Pairs farther apart do not vote on positions.
    """
    first, second = edges.rows.T
    way = photos.east_north_m[second] - photos.east_north_m[first]
    heard = np.hypot(way[:, 0], way[:, 1]) < max_distance_m
    found = _weigh(photos, edges, inliers, heard, gps_sigma_m)
    heard &= ~found.is_tested | (found.share_for >= _BELIEVED_SHARE)
    return _weigh(photos, edges, inliers, heard, gps_sigma_m)  # without false ones' say


def _weigh(
    photos: Photos,
    edges: Edges,
    inliers: Inliers,
    heard: NDArray[np.bool_],
    gps_sigma_m: float,
) -> Evidence:
    """Ask every match, with headings, depths and positions by the pairs that are heard."""
    steps, along = sequence_steps(photos, edges)
    neighbours = (steps > 0) & (steps <= _NEAR_STEPS) & heard
    start = settle_headings(photos, edges.select(neighbours)).heading_deg
    yaws = _of_known_lenses(photos, solve_yaws(photos, edges, neighbours, start))
    first, second = edges.rows.T
    distance_m = np.hypot(*(photos.east_north_m[second] - photos.east_north_m[first]).T)
    slack = np.degrees(np.arctan2(_STEP_ERROR_M, distance_m)) + _MOST_DIRECTION_ERROR_DEG
    usable = neighbours & (distance_m > _SHORTEST_M)
    usable &= yaws.turn_error_deg < _MOST_TURN_ERROR_DEG
    usable &= ~(yaws.direction_error_deg > slack)
    usable &= np.isfinite(yaws.heading_deg)[edges.rows].all(axis=1)
    depths = complete_depths(edges, inliers, find_depths(edges, inliers, usable, steps, distance_m))
    scene = Scene(
        gps_m=photos.east_north_m, rotation=upright(yaws.heading_deg),
        edges=edges, inliers=inliers, depths=depths,
        place_sigma_m=np.full(len(edges), _PLACE_SIGMA_M),
        heading_sigma=np.full(len(edges), _HEADING_SIGMA),
    )  # fmt: skip
    correction = _settle(scene, heard, along, gps_sigma_m)
    position_m = photos.east_north_m + correction
    street, is_wrong = add_street_depths(depths, position_m, yaws.heading_deg)
    scene = replace(scene, depths=street)
    correction = _settle(scene, heard, along, gps_sigma_m)
    deviation = scene.deviation(correction)
    deviation /= _misfit(photos, edges, inliers, steps, deviation)
    verdict = np.where(deviation < SIGMAS, 1, -1).astype(np.int8)
    verdict[np.isnan(deviation)] = 0
    usable &= ~is_wrong[edges.rows].any(axis=1)
    of_usable = usable[inliers.edge] & (depths.verdict != 0)
    verdict[of_usable] = depths.verdict[of_usable]
    verdict[of_usable & (deviation >= SIGMAS)] = -1  # a row of houses taken for the next one
    close = (verdict == 0) & (distance_m < CLOSE_M)[inliers.edge]
    verdict[close] = scene.compare_directions(correction, distance_m)[close]
    return Evidence.of(
        verdict, inliers.edge, len(edges), yaws=yaws, correction_m=correction, steps=steps,
        depths=street, is_sketched=np.zeros(len(edges), dtype=bool),
    )  # fmt: skip


def _misfit(
    photos: Photos,
    edges: Edges,
    inliers: Inliers,
    steps: NDArray[np.int64],
    deviation: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Say how much worse than expected places fit in the sequences of each match, shape (M,).

    A wrong focal length or a camera that leans makes all of a sequence's places worse, which its
    strong pairs of next photos tell. Where even those hardly fit, they are look-alikes, and nothing
    is excused.
    """
    sure = (steps > 0) & (steps <= _NEXT_STEPS) & (edges.n_inliers >= _MANY_INLIERS)
    heard = np.flatnonzero(sure[inliers.edge] & np.isfinite(deviation))
    number = photos.sequence[edges.rows]
    n_sequences = int(photos.sequence.max(initial=0)) + 1
    usual = median_of(number[inliers.edge[heard], 0], deviation[heard], n_sequences)
    is_poor = (usual > _POOR_DEVIATION) & (usual < _MOST_MISFIT)
    factor = np.where(is_poor, usual / _USUAL_DEVIATION, 1.0)
    of_pair = np.where(number >= 0, factor[number], 1.0).max(axis=1)
    return np.asarray(of_pair[inliers.edge])


def _of_known_lenses(photos: Photos, yaws: Yaws) -> Yaws:
    """Take the headings from photos whose focal length is a guess: their rays point elsewhere."""
    if photos.half_view is None:
        return yaws
    is_known = np.isfinite(photos.half_view).all(axis=1)
    return replace(yaws, heading_deg=np.where(is_known, yaws.heading_deg, np.nan))


def sequence_steps(photos: Photos, edges: Edges) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many photos each pair is apart in its sequence, and who follows whom.

    Returns:
        Steps, 0 for pairs of two sequences, shape (E,); rows (i, j), shape (S, 2).
    """
    order = np.lexsort((np.arange(len(photos)), photos.captured_at, photos.sequence))
    rank = np.empty(len(photos), dtype=np.int64)
    rank[order] = np.arange(len(photos))
    number = photos.sequence[edges.rows]
    same = (number[:, 0] == number[:, 1]) & (number[:, 0] != NO_SEQUENCE)
    steps = np.where(same, np.abs(rank[edges.rows[:, 1]] - rank[edges.rows[:, 0]]), 0)
    ordered = photos.sequence[order]
    follows = (ordered[1:] == ordered[:-1]) & (ordered[1:] != NO_SEQUENCE)
    return steps, np.stack([order[:-1][follows], order[1:][follows]], axis=1)


def _settle(
    scene: Scene, asked: NDArray[np.bool_], along: NDArray[np.int64], gps_sigma_m: float
) -> NDArray[np.float64]:
    """Settle positions on all matches, then on those that agreed the last time."""
    n_photos, n_edges = len(scene.gps_m), len(scene.edges)
    offset, sigma = scene.offsets(np.zeros((n_photos, 2)))
    heard = np.ones(len(offset), dtype=bool)
    for _ in range(_ROUNDS):
        voices = np.where(heard[:, None], offset, np.nan)
        offsets = measure_offsets(scene.inliers.edge, voices, sigma, n_edges)
        correction = settle_positions(
            scene.edges, offsets, asked, along, n_photos, gps_sigma_m=gps_sigma_m
        )
        agrees = scene.deviation(correction) < SIGMAS + 1.0
        enough = np.bincount(scene.inliers.edge, agrees, n_edges) >= LEAST_POINTS
        heard = agrees | ~enough[scene.inliers.edge]
    return correction
