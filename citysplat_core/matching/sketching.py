"""From verified pairs to a sketch of all their photos."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.evidence import Evidence, sequence_steps, weigh_matches
from citysplat_core.matching.inliers import Inliers
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.sketch import Sketch, draw_sketch
from citysplat_core.matching.sketched import weigh_sketched
from citysplat_core.matching.verify import Edges

_BELIEVED_SHARE: Final = 0.5


def sketch_photos(
    photos: Photos, edges: Edges, inliers: Inliers, *, gps_sigma_m: float, max_distance_m: float
) -> Sketch:
    """Sketch photos from pairs that have been judged.

    Drawn twice: the second time with the depths that the first poses give.

    Args:
        photos: The photos, with finite positions.
        edges: Pairs that were kept.
        inliers: Their matches.
        gps_sigma_m: Error of a position against another's, metres.
        max_distance_m: Pairs farther apart do not vote on positions.

    Returns:
        Poses; ``is_known`` says of which photos, which may be none.
    """
    found = weigh_matches(
        photos, edges, inliers, gps_sigma_m=gps_sigma_m, max_distance_m=max_distance_m
    )
    sketch = sketch_from(photos, edges, found, _believed(found, inliers), gps_sigma_m=gps_sigma_m)
    lends = ~found.is_tested | (found.share_for >= _BELIEVED_SHARE)
    found = weigh_sketched(photos, edges, inliers, found, sketch, lends)
    return sketch_from(photos, edges, found, _believed(found, inliers), gps_sigma_m=gps_sigma_m)


def sketch_from(
    photos: Photos,
    edges: Edges,
    evidence: Evidence,
    believed: NDArray[np.bool_],
    *,
    gps_sigma_m: float,
) -> Sketch:
    """Sketch photos from what their matches have said.

    Args:
        photos: The photos.
        edges: Verified pairs.
        evidence: What their matches say.
        believed: Matches to be used, shape (M,).
        gps_sigma_m: Error of a position, metres.
    """
    return draw_sketch(
        evidence.depths, believed,
        gps_m=photos.east_north_m, correction_m=evidence.correction_m,
        heading_deg=evidence.yaws.heading_deg, sequence=photos.sequence,
        along=sequence_steps(photos, edges)[1], gps_sigma_m=gps_sigma_m,
    )  # fmt: skip


def _believed(evidence: Evidence, inliers: Inliers) -> NDArray[np.bool_]:
    agrees = evidence.is_tested & (evidence.share_for >= _BELIEVED_SHARE)
    return np.asarray(agrees[inliers.edge] & (evidence.verdict > 0))
