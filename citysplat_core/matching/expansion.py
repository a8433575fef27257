"""Rounds of transitive closure: what a sees of b, and b of c, a may see of c.

Without gates this runs away: every look-alike pair ties two places together, and each round
doubles what is proposed. So the same gates are asked as of every other pair, there is a budget of
its own, and a round that brings little is the last.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from citysplat_core.matching.budget import Candidates, Proposals, keys_of, unite
from citysplat_core.matching.pairs import propose_sequence_pairs
from citysplat_core.matching.pairs_gates import Gated, gate_pairs, limits_of, scene_of
from citysplat_core.matching.photos import Photos
from citysplat_core.settings import MatchingSettings


def expand_pairs(
    photos: Photos,
    heading_deg: NDArray[np.float64],
    verified: NDArray[np.int32],
    tried: NDArray[np.int32],
    settings: MatchingSettings,
    *,
    budget: int,
    across: bool = False,
) -> Proposals:
    """Propose one round of pairs (a, c) for which (a, b) and (b, c) are verified.

    Neighbours of a sequence count as verified, so that pairs spread along drives, and across a
    border too.

    Args:
        photos: The photos.
        heading_deg: Believed headings, degrees, NaN for none, shape (N,).
        verified: Verified pairs with enough inliers, shape (V, 2).
        tried: Pairs that were proposed before, shape (T, 2).
        settings: The gates, and ``expansion_distance_m``.
        budget: Most pairs; those of the largest predicted overlap are kept.
        across: Only pairs of two sides.

    Returns:
        New pairs only, each once, sorted, of the source ``expansion``; the refused by reason.
    """
    along = propose_sequence_pairs(photos.sequence, photos.captured_at, steps=(1,))
    edges = np.concatenate([verified.reshape(-1, 2), along]).astype(np.int64)
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    count = len(photos)
    graph = csr_array((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=(count, count))
    first, second = (graph @ graph).nonzero()
    pairs = np.stack([first, second], axis=1)[first < second].astype(np.int32)
    known = np.concatenate([keys_of(tried.reshape(-1, 2), count), keys_of(along, count)])
    pairs = pairs[~np.isin(keys_of(pairs, count), known)]
    if across:
        pairs = pairs[photos.side[pairs[:, 0]] != photos.side[pairs[:, 1]]]
    limits = limits_of(settings, distance_m=settings.expansion_distance_m)
    gated = gate_pairs(scene_of(photos, heading_deg), pairs, limits)
    kept = gated.reason == 0
    refused = Gated(reason=gated.reason[~kept], overlap=gated.overlap[~kept]).counts()
    overlap = gated.overlap[kept]
    found = Candidates(source="expansion", pairs=pairs[kept], overlap=overlap, worth=overlap)
    return unite([found], count, budget=budget, refused=refused)


def expand_in_rounds(
    photos: Photos,
    heading_deg: NDArray[np.float64],
    first: Proposals,
    n_inliers: Callable[[Proposals], NDArray[np.int64]],
    settings: MatchingSettings,
    *,
    across: bool = False,
) -> Proposals:
    """Expand until the rounds, the budget, the new pairs or their verified rate run out.

    Args:
        photos: The photos.
        heading_deg: Believed headings, degrees, NaN for none, shape (N,).
        first: The first proposals.
        n_inliers: Compares the pairs and returns their verified inliers, shape (P,); asked once
            for the first proposals and once a round, each time for all pairs so far.
        settings: Gates and floors.
        across: Only pairs of two sides.

    Returns:
        The first proposals and those of all rounds, sorted; ``refused`` holds the last round's
        refusals as ``expansion: REASON``, as every round is asked about the same pairs again.
    """
    united, latest = first, first
    left = math.floor(settings.expansion_per_photo * len(photos))
    for number in range(1, settings.expansion_rounds + 1):
        if not len(latest):
            break
        counts = n_inliers(united)
        enough = counts >= settings.expansion_min_inliers
        rate = float(enough[united.round == number - 1].mean())
        if left < 1 or (number > 1 and rate < settings.expansion_min_rate):
            break
        latest = expand_pairs(
            photos,
            heading_deg,
            united.pairs[enough],
            united.pairs,
            settings,
            budget=left,
            across=across,
        )
        if len(latest) < settings.expansion_min_new:
            break
        left -= len(latest)
        united = join_round(united, latest, number, len(photos))
    return united


def join_round(old: Proposals, new: Proposals, number: int, n_photos: int) -> Proposals:
    """Add the pairs of a later round to those before.

    Args:
        old: Pairs of all rounds before.
        new: Other pairs.
        number: Of the round.
        n_photos: Photos that the rows count.

    Returns:
        All, sorted; what the new round left out is told as ``expansion: REASON``.
    """
    order = np.argsort(keys_of(np.concatenate([old.pairs, new.pairs]), n_photos), kind="stable")
    rounds = np.concatenate([old.round, np.full(len(new), number, dtype=np.uint8)])
    kept = {key: n for key, n in old.refused.items() if not key.startswith("expansion: ")}
    return Proposals(
        pairs=np.concatenate([old.pairs, new.pairs])[order],
        sources=np.concatenate([old.sources, new.sources])[order],
        overlap=np.concatenate([old.overlap, new.overlap])[order],
        round=rounds[order],
        refused=kept | {f"expansion: {key}": n for key, n in new.refused.items()},
    )
