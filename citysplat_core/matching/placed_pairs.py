"""Pairs that GPS hid: proposed once more, from where the matches of the first ones put the photos.

Which two photos see one thing is predicted from where they stand and look. Where GPS jumps by
metres from photo to photo the prediction misses one pair in seventeen; the sketch that judging
draws knows better.
"""

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.budget import Candidates, Proposals, keys_of, nothing, unite
from citysplat_core.matching.evidence import Evidence
from citysplat_core.matching.pairs import propose_sequence_pairs
from citysplat_core.matching.pairs_plan import propose_pairs
from citysplat_core.matching.photos import Photos
from citysplat_core.settings import MatchingSettings

_NOISY_M: Final = 1.0
"""Usual change of the GPS error from one photo to the next from which on it is worth the work."""
_MOST_PER_PHOTO: Final = 2.0


def propose_from_places(
    photos: Photos,
    evidence: Evidence,
    tried: Proposals,
    settings: MatchingSettings,
    *,
    n_threads: int = 1,
) -> Proposals:
    """Propose the pairs that the corrected places and headings of photos want.

    Args:
        photos: The photos of a box.
        evidence: What the matches of the first pairs said.
        tried: All pairs that were proposed before.
        settings: Sources, gates and budget.
        n_threads: Threads; the result does not depend on it.

    Returns:
        New pairs only, of the source ``spatial``, at most two a photo, those of the largest
        predicted overlap; nothing where GPS is good from photo to photo.
    """
    if _jump_m(photos, evidence.correction_m) < _NOISY_M:
        return nothing()
    placed = replace(photos, east_north_m=photos.east_north_m + evidence.correction_m)
    wanted = propose_pairs(placed, settings, evidence.yaws.heading_deg, n_threads=n_threads)
    count = len(photos)
    fresh = ~np.isin(keys_of(wanted.pairs, count), keys_of(tried.pairs, count))
    overlap = wanted.overlap[fresh]
    found = Candidates(source="spatial", pairs=wanted.pairs[fresh], overlap=overlap, worth=overlap)
    return unite([found], count, budget=math.floor(_MOST_PER_PHOTO * count), refused={})


def _jump_m(photos: Photos, correction_m: NDArray[np.float64]) -> float:
    """Return the usual change of the correction from one photo of a sequence to the next."""
    along = propose_sequence_pairs(photos.sequence, photos.captured_at, steps=(1,))
    if not len(along):
        return 0.0
    step = correction_m[along[:, 1]] - correction_m[along[:, 0]]
    return float(np.median(np.hypot(step[:, 0], step[:, 1])))
