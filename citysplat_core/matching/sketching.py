"""From verified pairs to a sketch of all their photos, and what matches say with it."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.evidence import Evidence, sequence_steps, weigh_matches
from citysplat_core.matching.inliers import Inliers
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.sketch import Sketch, draw_sketch
from citysplat_core.matching.sketched import weigh_sketched
from citysplat_core.matching.verify import Edges

_SKETCHES: Final = 2
"""Where GPS is noisy, the second one rests on many more matches than the first."""
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
    rough = weigh_matches(
        photos, edges, inliers, gps_sigma_m=gps_sigma_m, max_distance_m=max_distance_m
    )
    along = sequence_steps(photos, edges)[1]
    found = rough
    for _ in range(_SKETCHES):
        proven = prove(found)
        sketch = draw_sketch(
            found.depths, (proven & found.is_tested)[inliers.edge] & (found.verdict > 0),
            gps_m=photos.east_north_m, correction_m=found.correction_m,
            heading_deg=found.yaws.heading_deg, sequence=photos.sequence, along=along,
            gps_sigma_m=gps_sigma_m,
        )  # fmt: skip
        if not sketch.is_known.any():
            break
        lends = proven | ~found.is_tested
        found = weigh_sketched(photos, edges, inliers, rough, sketch, lends)
    return found, sketch


def sketch_photos(
    photos: Photos, edges: Edges, inliers: Inliers, *, gps_sigma_m: float, max_distance_m: float
) -> Sketch:
    """Sketch photos from pairs that have been judged, see `weigh_with_sketch`."""
    return weigh_with_sketch(
        photos, edges, inliers, gps_sigma_m=gps_sigma_m, max_distance_m=max_distance_m,
        prove=lambda found: found.is_tested & (found.share_for >= _BELIEVED_SHARE),
    )[1]  # fmt: skip
