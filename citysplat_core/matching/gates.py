"""Refuse verified pairs that cannot be true: look-alike houses pass every image test.

The tests run in order; each hears only the pairs that the earlier ones kept. A pair that lacks
what a test needs passes it.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.headings import UPRIGHT_COSINE, Headings, settle_headings
from citysplat_core.matching.pairs import NO_SEQUENCE, wrap_deg
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.rotations import (
    average_rotations,
    components_of,
    direction_errors_deg,
    rotation_errors_deg,
)
from citysplat_core.matching.verify import PLANAR, UNCALIBRATED, Edges
from citysplat_core.settings import MatchingSettings

_UNCALIBRATED_SLACK: Final = 4.0
"""Factor on the rotation limit where the focal length is a guess: true pairs err by 20 degrees."""
_MAX_REFUSED_SHARE: Final = 0.35
"""A test of directions that refuses more of a component speaks about its GPS, not its pairs."""
_SCATTER: Final = 1.7
"""How far, in standard deviations, GPS may turn a baseline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gates said.

    Attributes:
        reasons: The test that refused it (distance, weak, heading, rotation, direction), or "";
            one an edge.
        headings: The headings that were believed.
        notes: What a reader should know, as tests that were not believed.
    """

    reasons: tuple[str, ...]
    headings: Headings
    notes: tuple[str, ...] = field(default_factory=tuple)


def judge_pairs(
    photos: Photos,
    edges: Edges,
    settings: MatchingSettings,
    *,
    far: NDArray[np.bool_] | None = None,
    refused: NDArray[np.object_] | None = None,
    proven: NDArray[np.bool_] | None = None,
) -> Verdict:
    """Test every verified pair against GPS, headings and the rotations of all other pairs.

    Args:
        photos: The photos, with GPS and compass.
        edges: Verified pairs with relative poses.
        settings: Limits of the tests.
        far: Pairs that may be as far apart as ``retrieval_distance_m``, shape (E,): those that look
            alike and face one surface, as across a valley. None: no pair.
        refused: Reasons of pairs that are refused already, "" for others, shape (E,).
        proven: Pairs whose single matches prove them: only their distance is asked, shape (E,).

    Returns:
        One verdict an edge; the same input gives the same verdict.
    """
    reasons = np.full(len(edges), "", dtype=object) if refused is None else refused.copy()
    known = np.zeros(len(edges), dtype=bool) if proven is None else proven
    first, second = edges.rows[:, 0], edges.rows[:, 1]
    move = photos.east_north_m[second] - photos.east_north_m[first]
    distance_m = np.hypot(move[:, 0], move[:, 1])
    reach_m = np.full(len(edges), settings.max_verified_distance_m)
    if far is not None:
        reach_m[far] = max(settings.retrieval_distance_m, settings.max_verified_distance_m)
    reasons[(reasons == "") & (distance_m > reach_m)] = "distance"
    weak = ~_of_one_sequence(photos, edges) & (edges.n_inliers < settings.min_inliers_across)
    reasons[(reasons == "") & weak & ~known] = "weak"
    headings = settle_headings(photos, edges.select(reasons == ""))
    excused = {test: pairs | known for test, pairs in _excuses(photos, edges).items()}
    turned = heading_errors_deg(headings.heading_deg, edges) > settings.max_heading_error_deg
    reasons[(reasons == "") & turned & ~excused["heading"]] = "heading"
    notes = []
    kept = np.flatnonzero(reasons == "")
    for members in components_of(edges.rows[kept], len(photos)):
        note = _judge_component(photos, edges, kept[members], reasons, excused, settings)
        if note:
            notes.append(note)
    return Verdict(reasons=tuple(map(str, reasons)), headings=headings, notes=tuple(notes))


def _excuses(photos: Photos, edges: Edges) -> dict[str, NDArray[np.bool_]]:
    """Say which pairs are not refused by a test, since their pose is known to be wrong there.

    Photos of one sequence that follow each other are rarely look-alikes, and what two-view poses
    get wrong in them does not make their matches wrong: a homography has two poses (true pairs of
    one walk were 102 degrees off), and a move along the optical axis is easily solved backwards.
    """
    same = _of_one_sequence(photos, edges)
    planar = same & (edges.config == PLANAR)
    return {"heading": planar, "rotation": planar, "direction": same}


def _of_one_sequence(photos: Photos, edges: Edges) -> NDArray[np.bool_]:
    first, second = photos.sequence[edges.rows[:, 0]], photos.sequence[edges.rows[:, 1]]
    return np.asarray((first == second) & (first != NO_SEQUENCE))


def heading_errors_deg(heading_deg: NDArray[np.float64], edges: Edges) -> NDArray[np.float64]:
    """Return how far each pair's turn is from the turn of its two headings, degrees, 0 to 180.

    NaN where a heading is unknown, or where the two cameras cannot both be upright, as those of
    a drone that looks down.

    Args:
        heading_deg: Headings clockwise from north, degrees, shape (N,).
        edges: Verified pairs.
    """
    forward = edges.rotation[:, 2, :]  # optical axis of the second camera, in the first one
    turn = np.degrees(np.arctan2(forward[:, 0], forward[:, 2]))
    expected = heading_deg[edges.rows[:, 1]] - heading_deg[edges.rows[:, 0]]
    error = np.abs(wrap_deg(turn - expected))
    return np.where(edges.rotation[:, 1, 1] > UPRIGHT_COSINE, error, np.nan)


def _judge_component(
    photos: Photos,
    edges: Edges,
    own: NDArray[np.intp],
    reasons: NDArray[np.object_],
    excused: dict[str, NDArray[np.bool_]],
    settings: MatchingSettings,
) -> str:
    """Run the tests of rotation and direction on one connected set of pairs; write the reasons."""
    mask = np.zeros(len(edges), dtype=bool)
    mask[own] = True
    part = edges.select(mask)
    world = average_rotations(part, seed=settings.seed)
    if world is None:
        return f"rotations of {len(own)} pairs could not be averaged; not tested"
    slack = np.where(part.config == UNCALIBRATED, _UNCALIBRATED_SLACK, 1.0)
    wrong = rotation_errors_deg(part, world) > settings.max_rotation_error_deg * slack
    reasons[own[wrong & ~excused["rotation"][own]]] = "rotation"
    astray, tested = _astray(photos, part.select(~wrong), world, settings)
    if astray.sum() > _MAX_REFUSED_SHARE * tested:
        return (
            f"{int(astray.sum())} of {tested} baselines of a component disagree with GPS; its"
            " positions are too poor for this test, which refused nothing"
        )
    reasons[own[~wrong][astray & ~excused["direction"][own[~wrong]]]] = "direction"
    return ""


def _astray(
    photos: Photos,
    edges: Edges,
    world: dict[int, NDArray[np.float64]],
    settings: MatchingSettings,
) -> tuple[NDArray[np.bool_], int]:
    """Return which baselines point elsewhere than GPS allows, and how many could be tested."""
    errors_deg, baseline_m = direction_errors_deg(
        photos.east_north_m, edges, world, sigma_m=settings.gps_sigma_m, seed=settings.seed
    )
    noise_deg = np.degrees(np.arctan2(_SCATTER * settings.gps_sigma_m, baseline_m))
    slack = np.where(edges.config == UNCALIBRATED, _UNCALIBRATED_SLACK / 2, 1.0)
    limit_deg = (settings.max_direction_error_deg + noise_deg) * slack
    return errors_deg > limit_deg, int(np.isfinite(errors_deg).sum())
