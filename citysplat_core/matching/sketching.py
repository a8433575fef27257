"""From verified pairs to a sketch of all their photos, and what matches say with it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.evidence import Evidence, sequence_steps, weigh_matches
from citysplat_core.matching.inliers import Inliers
from citysplat_core.matching.pairs import NO_SEQUENCE
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.sketch import Sketch, draw_sketch
from citysplat_core.matching.sketched import straighten_matches, weigh_sketched
from citysplat_core.matching.verify import Edges

_SKETCHES: Final = 2
"""The second one rests on many more matches than the first where GPS is noisy."""
_PLACED_SIGMA_M: Final = 2.0
"""Error of a position against another's once a sketch has placed the photos; where it erred."""
_BELIEVED_SHARE: Final = 0.5

Prove = Callable[[Evidence], NDArray[np.bool_]]
"""Says which pairs are believed, shape (E,)."""


def weigh_with_sketch(
    photos: Photos,
    edges: Edges,
    inliers: Inliers,
    *,
    gps_sigma_m: float,
    max_distance_m: float,
    prove: Prove,
) -> tuple[Evidence, Sketch]:
    """Sketch photos from the matches that surely agree, and ask all matches again with the sketch.

    All of it twice, the second time from the places of the first sketch: GPS may be off by metres
    from photo to photo, and depths by it are as wrong. What more matches agree with is taken.

    Args:
        photos: The photos, with finite positions.
        edges: Verified pairs.
        inliers: Their matches.
        gps_sigma_m: Error of a position against another's, metres.
        max_distance_m: Pairs farther apart do not vote on positions.
        prove: Which pairs are believed, by what their matches say.

    Returns:
        What the matches say, and the sketch; ``is_known`` says of which photos, which may be none.
    """
    along = sequence_steps(photos, edges)[1]

    def sketch_from(start: Evidence, sketch: Sketch) -> tuple[Evidence, Sketch]:
        found = start
        for _ in range(_SKETCHES):
            proven = prove(found)
            sketch = draw_sketch(
                replace(found.depths, bearing=rough.depths.bearing),  # by the supposed lenses
                (proven & found.is_tested)[inliers.edge] & (found.verdict > 0),
                gps_m=photos.east_north_m, correction_m=found.correction_m,
                heading_deg=found.yaws.heading_deg, sequence=photos.sequence, along=along,
                gps_sigma_m=gps_sigma_m, before=sketch,
            )  # fmt: skip
            if not sketch.is_known.any():
                break
            lends = proven | ~found.is_tested
            found = weigh_sketched(photos, edges, inliers, start, sketch, lends)
            found = _leave_unsketched(found, rough, inliers)
        return found, sketch

    rough = weigh_matches(
        photos, edges, inliers, gps_sigma_m=gps_sigma_m, max_distance_m=max_distance_m
    )
    none = Sketch.unknown(photos.east_north_m, photos.heading_deg)
    found, sketch = sketch_from(rough, none)
    if not sketch.is_known.any():
        return found, sketch
    placed = place_photos(photos, sketch)
    again = weigh_matches(
        placed, edges, straighten_matches(edges, inliers, sketch),
        gps_sigma_m=_PLACED_SIGMA_M, max_distance_m=max_distance_m,
    )  # fmt: skip
    moved_m = placed.east_north_m - photos.east_north_m
    other = sketch_from(replace(again, correction_m=again.correction_m + moved_m), sketch)
    return other if _agreeing(other[0]) > _agreeing(found) else (found, sketch)


def _agreeing(evidence: Evidence) -> int:
    return int(evidence.n_for.sum())


def _leave_unsketched(found: Evidence, rough: Evidence, inliers: Inliers) -> Evidence:
    """Let the first verdict stand where a sketch knows nothing: GPS alone spoke there."""
    return Evidence.of(
        np.where(found.is_sketched[inliers.edge], found.verdict, rough.verdict),
        inliers.edge, len(found.steps), yaws=found.yaws, correction_m=found.correction_m,
        steps=found.steps, depths=found.depths, is_sketched=found.is_sketched,
    )  # fmt: skip


def place_photos(photos: Photos, sketch: Sketch) -> Photos:
    """Put photos where a sketch knows them, and those between them in their sequence beside them.

    Args:
        photos: The photos.
        sketch: A sketch of them.

    Returns:
        The photos with positions and headings of the sketch; those that nothing tells anything of
        as they were.
    """
    known = sketch.is_known
    moved = np.where(known[:, None], sketch.centre_m[:, :2] - photos.east_north_m, 0.0)
    for number in np.unique(photos.sequence[known & (photos.sequence != NO_SEQUENCE)]):
        rows = np.flatnonzero(photos.sequence == number)
        rows = rows[np.argsort(photos.captured_at[rows], kind="stable")]
        told = np.flatnonzero(known[rows])
        for axis in (0, 1):
            moved[rows, axis] = np.interp(np.arange(len(rows)), told, moved[rows[told], axis])
    return replace(photos, east_north_m=photos.east_north_m + moved, heading_deg=sketch.heading_deg)


def sketch_photos(
    photos: Photos, edges: Edges, inliers: Inliers, *, gps_sigma_m: float, max_distance_m: float
) -> Sketch:
    """Sketch photos from pairs that have been judged, see `weigh_with_sketch`."""
    return weigh_with_sketch(
        photos, edges, inliers, gps_sigma_m=gps_sigma_m, max_distance_m=max_distance_m,
        prove=lambda found: found.is_tested & (found.share_for >= _BELIEVED_SHARE),
    )[1]  # fmt: skip
