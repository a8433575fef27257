"""What is kept of the verified pairs: which of them, and which of their matches."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.sparse import coo_array

from citysplat_core.matching.evidence import LEAST_TESTED, Evidence
from citysplat_core.matching.gates import Verdict, judge_pairs
from citysplat_core.matching.inliers import Graph, Inliers
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.sketching import weigh_with_sketch
from citysplat_core.matching.verify import Edges
from citysplat_core.settings import MatchingSettings

_CLEAN_SHARE: Final = 0.97
"""Matches that nobody can test stay if so many of the pair's others agree."""
_NEXT_STEPS: Final = 1
_FAR_ASIDE_M: Final = 4.0
_STRONG: Final = (12, 0.6)
"""Agreeing matches and their share from which on a pair needs no support."""
_ROUGH_STRONG: Final = (15, 0.65)
"""The same without a sketch."""
_ROUGH_PARTNERS: Final = 3
"""Strong common partners that any other pair needs without a sketch, at the least."""
_FAIR_MATCHES: Final = 10
_FAIR_SHARE: Final = 0.6
"""One of these a supported pair must have."""
_MOST_TURN_ERROR_DEG: Final = 4.0
_MOST_DIRECTION_ERROR_DEG: Final = 30.0
PLACES: Final = "places"
"""Reason: the two photos put what they both see in different places."""
UNSUPPORTED: Final = "unsupported"
"""Reason: a weak pair that no triangle with strong ones confirms."""
UNPROVEN: Final = "unproven"
"""Reason: nothing that the pair matches stands anywhere by other pairs, though photos know much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is kept.

    Attributes:
        verdict: Reasons, one a pair, headings and notes.
        is_kept: Matches that stay, all of refused pairs left out, shape (M,).
        evidence: What single matches said.
    """

    verdict: Verdict
    is_kept: NDArray[np.bool_]
    evidence: Evidence

    def n_kept(self, inliers: Inliers) -> NDArray[np.int64]:
        """Count the matches of each pair that stay, shape (E,)."""
        n_pairs = len(self.verdict.reasons)
        return np.bincount(inliers.edge[self.is_kept], minlength=n_pairs).astype(np.int64)


def judge_matches(
    photos: Photos,
    edges: Edges,
    inliers: Inliers,
    settings: MatchingSettings,
    *,
    far: NDArray[np.bool_] | None = None,
    accepted: NDArray[np.bool_] | None = None,
) -> Judgement:
    """Judge pairs by their single matches, and those that cannot be by their poses.

    Args:
        photos: The photos, with GPS and compass.
        edges: Verified pairs with relative poses.
        inliers: All their inlier matches.
        settings: Limits of the tests.
        far: See `judge_pairs`.
        accepted: Pairs that were judged before and stand, shape (E,); None: no pair.

    Returns:
        The judgement; the same input gives the same.
    """
    evidence, _ = weigh_with_sketch(
        photos, edges, inliers,
        gps_sigma_m=settings.gps_sigma_m, max_distance_m=settings.max_verified_distance_m,
        prove=lambda found: _prove(edges, found, len(photos), settings)[1],
    )  # fmt: skip
    tested = evidence.is_tested
    is_clean = evidence.share_for >= _CLEAN_SHARE
    stays = (evidence.verdict > 0) | ((evidence.verdict == 0) & is_clean[inliers.edge])
    stays |= (~tested)[inliers.edge]
    agrees, proven = _prove(edges, evidence, len(photos), settings)
    reasons = np.full(len(edges), "", dtype=object)
    reasons[tested & ~agrees] = PLACES
    reasons[agrees & ~proven] = UNSUPPORTED
    reasons[~tested & _should_be_proven(photos, edges, inliers, evidence)] = UNPROVEN
    if accepted is not None:
        proven |= accepted
        reasons[accepted] = ""
        stays |= accepted[inliers.edge]
    verdict = judge_pairs(photos, edges, settings, far=far, refused=reasons, proven=proven)
    kept = np.array([not reason for reason in verdict.reasons], dtype=bool)
    return Judgement(verdict=verdict, is_kept=stays & kept[inliers.edge], evidence=evidence)


def _prove(
    edges: Edges,
    evidence: Evidence,
    n_photos: int,
    settings: MatchingSettings,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which pairs agree, and which of them are strong or close triangles with strong ones.

    A few matches agree by chance as well, most often one window farther; what two photos truly
    share, a third one near them sees too.
    """
    n_for, share = evidence.n_for, evidence.share_for
    agrees = evidence.is_tested & (n_for >= settings.min_agreeing_matches)
    agrees &= share >= settings.min_agreeing_share
    sharp = evidence.is_sketched
    least, least_share = (
        np.where(sharp, a, b) for a, b in zip(_STRONG, _ROUGH_STRONG, strict=True)
    )
    strong = agrees & (n_for >= least) & (share >= least_share)
    first, second = edges.rows[strong].T
    ends = np.concatenate([first, second]), np.concatenate([second, first])
    graph = coo_array((np.ones(len(ends[0])), ends), shape=(n_photos, n_photos)).tocsr()
    common = np.asarray(graph[edges.rows[:, 0]].multiply(graph[edges.rows[:, 1]]).sum(axis=1))
    fair = (n_for >= _FAIR_MATCHES) | (share >= _FAIR_SHARE)
    wanted = settings.min_common_partners
    partners = np.where(sharp, wanted, max(wanted, _ROUGH_PARTNERS))
    supported = fair & (common.ravel() >= partners)
    return agrees, np.asarray(agrees & (strong | supported))


def _should_be_proven(
    photos: Photos, edges: Edges, inliers: Inliers, evidence: Evidence
) -> NDArray[np.bool_]:
    """Say which pairs lack proof although both photos have places for what they see.

    The next photo of a sequence is excused if its pose fits: the last house of a street is seen
    from there alone. Where the camera looks aside, what it sees next is the next house: there a
    pair needs proof, if most photos of the box have some.
    """
    said = np.abs(evidence.verdict).astype(np.float64)
    told = np.zeros(len(photos))
    for side in (0, 1):
        told += np.bincount(edges.rows[inliers.edge, side], said, len(photos))
    knows = told >= 4 * LEAST_TESTED
    yaws = evidence.yaws
    fits = (evidence.steps > 0) & (evidence.steps <= _NEXT_STEPS)
    fits &= yaws.turn_error_deg < _MOST_TURN_ERROR_DEG
    fits &= ~(yaws.direction_error_deg > _MOST_DIRECTION_ERROR_DEG)
    aside = (evidence.steps > 0) & _passes_by(photos, edges, yaws.heading_deg)
    aside &= bool(2 * knows.sum() >= len(knows))
    return np.asarray((knows[edges.rows].all(axis=1) & ~fits) | aside)


def _passes_by(photos: Photos, edges: Edges, heading_deg: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which pairs move far and not surely along their line of sight, shape (E,)."""
    first, second = edges.rows.T
    move = photos.east_north_m[second] - photos.east_north_m[first]
    bearing = np.degrees(np.arctan2(move[:, 0], move[:, 1]))
    aside = np.abs(np.sin(np.radians(bearing - heading_deg[first])))
    stays_near = np.hypot(move[:, 0], move[:, 1]) * aside <= _FAR_ASIDE_M
    return np.asarray(~stays_near)


def write_kept_matches(
    database: Path, colmap_ids: NDArray[np.int64], graph: Graph, judgement: Judgement
) -> None:
    """Delete refused matches from the two-view geometries of pairs that stay.

    Args:
        database: COLMAP database; pairs that it lacks are passed over.
        colmap_ids: Ids of the photos by row.
        graph: Verified pairs and all their matches, as the database has them.
        judgement: What is kept.
    """
    edges, inliers = graph.edges, graph.inliers
    lost = np.bincount(inliers.edge[~judgement.is_kept], minlength=len(edges))
    kept = np.array([not reason for reason in judgement.verdict.reasons], dtype=bool)
    ends = np.searchsorted(inliers.edge, np.arange(len(edges) + 1))
    with pycolmap.Database.open(database) as opened, pycolmap.DatabaseTransaction(opened):
        for edge in np.flatnonzero(kept & (lost > 0)).tolist():
            a, b = colmap_ids[edges.rows[edge]].tolist()
            if not opened.exists_two_view_geometry(a, b):
                continue
            own = slice(ends[edge], ends[edge + 1])
            geometry = opened.read_two_view_geometry(a, b)
            geometry.inlier_matches = inliers.point[own][judgement.is_kept[own]].astype(np.uint32)
            opened.update_two_view_geometry(a, b, geometry)
