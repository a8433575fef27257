"""Which photos of a box or a fringe are compared: all sources, their gates and the budget."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.errors import MatchingError
from citysplat_core.matching.budget import Candidates, Proposals, keys_of, nothing, unite
from citysplat_core.matching.headings import compass_that_follows_motion
from citysplat_core.matching.pairs import propose_sequence_pairs
from citysplat_core.matching.pairs_gates import (
    HEADING,
    STATIONARY,
    VIEW_CONE,
    Gated,
    Scene,
    gate_pairs,
    limits_of,
    scene_of,
)
from citysplat_core.matching.pairs_spatial import rank_neighbours
from citysplat_core.matching.photos import Photos
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import Progress, no_progress

_FIRST: Final = 1.0
"""Worth that puts a pair before all that are only predicted."""
_BONUS: Final = 0.03
"""Worth of a pair across a valley; a pair of a sequence is worth this more than geometry says."""
_ASKED_OF_ALL: Final = (HEADING, VIEW_CONE)
"""Gates that speak of where photos look: not asked where few photos can all be compared."""


def propose_pairs(
    photos: Photos,
    settings: MatchingSettings,
    heading_deg: NDArray[np.float64] | None = None,
    *,
    across: bool = False,
    retrieved: NDArray[np.int32] | None = None,
    n_threads: int = 1,
    progress: Progress = no_progress,
) -> Proposals:
    """Propose the pairs of a box, or those across the border between two boxes.

    Sources: photos that follow each other in a sequence; photos that stand near and should see a
    common surface (``spatial``, across a border ``fringe``); photos whose content is alike
    (``retrieval``). A pair names all its sources.

    Args:
        photos: The photos; of both sides for a fringe.
        settings: Sources, gates and budget.
        heading_deg: Believed headings, degrees, shape (N,); where NaN, any heading is possible.
            None believes the compass of the sequences in which it follows the motion.
        across: Only pairs of two sides.
        retrieved: Pairs (i, j) of photos that look alike, shape (P, 2).
        n_threads: Threads; the result does not depend on it.
        progress: Called as photos are done, every 4,096 of them.

    Returns:
        The pairs and the numbers of those that were left out, by reason. Nothing for fewer than
        two photos.

    Raises:
        MatchingError: A position is not finite.
    """
    _refuse_bad_positions(photos.east_north_m)
    if len(photos) < 2:
        return nothing()
    if heading_deg is None:
        heading_deg = compass_that_follows_motion(photos)
    scene = scene_of(photos, heading_deg)
    refused: dict[str, int] = {}
    found = [_along(photos, scene, settings, refused, across=across)]
    pairs = _few_across(photos, settings) if across else None
    if pairs is not None:
        found.append(_all_of(pairs, scene, settings, refused))
    else:
        ranked = rank_neighbours(
            scene,
            limits_of(settings, distance_m=settings.radius_m),
            max_neighbours=settings.max_neighbours,
            across=across,
            n_threads=n_threads,
            progress=progress,
        )
        _add(refused, ranked.refused)
        found.append(
            Candidates(
                source="fringe" if across else "spatial",
                pairs=ranked.pairs,
                overlap=ranked.overlap,
                worth=ranked.worth,
            )
        )
    n_idle = int(scene.idle.sum())  # each has its neighbour in the sequence, and asks no more
    budget = math.ceil(settings.max_pairs_per_photo * (len(photos) - n_idle)) + n_idle
    budget = max(budget, len(found[0].pairs))
    if retrieved is not None and len(retrieved):
        found.append(_alike(photos, heading_deg, retrieved, settings, refused, across=across))
        budget += len(found[-1].pairs)  # on top, else they would crowd out better ones
    return unite(found, len(photos), budget=budget, refused=refused)


def _along(
    photos: Photos,
    scene: Scene,
    settings: MatchingSettings,
    refused: dict[str, int],
    *,
    across: bool,
) -> Candidates:
    """Pairs along sequences: neighbours pass all gates, as compass and position lie for sequences.

    Longer steps are refused where a camera stands: of a car that is parked for an hour there would
    be three for every photo.
    """
    pairs = propose_sequence_pairs(
        photos.sequence, photos.captured_at, steps=settings.sequence_steps
    )
    next_ones = propose_sequence_pairs(photos.sequence, photos.captured_at, steps=(1,))
    if across:
        pairs = pairs[photos.side[pairs[:, 0]] != photos.side[pairs[:, 1]]]
    limits = limits_of(settings, distance_m=math.inf)
    gated = gate_pairs(scene, pairs, limits)
    first = np.isin(keys_of(pairs, len(photos)), keys_of(next_ones, len(photos)))
    standing = (gated.reason == STATIONARY) & ~first
    _add(refused, Gated(reason=gated.reason[standing], overlap=gated.overlap[standing]).counts())
    pairs, overlap, first = pairs[~standing], gated.overlap[~standing], first[~standing]
    worth = (np.where(first, _FIRST, _BONUS) + overlap).astype(np.float32)
    return Candidates(source="sequence", pairs=pairs, overlap=overlap, worth=worth)


def _few_across(photos: Photos, settings: MatchingSettings) -> NDArray[np.int32] | None:
    """All pairs of two sides if they are few, else None."""
    sides = [np.flatnonzero(photos.side == side) for side in (0, 1)]
    if len(sides[0]) * len(sides[1]) > settings.exhaustive_fringe_pairs:
        return None
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.sort(grid, axis=1).astype(np.int32)


def _all_of(
    pairs: NDArray[np.int32], scene: Scene, settings: MatchingSettings, refused: dict[str, int]
) -> Candidates:
    """Keep the pairs of a small fringe, whichever way their photos look."""
    gated = gate_pairs(
        scene, pairs, limits_of(settings, distance_m=settings.max_verified_distance_m)
    )
    kept = (gated.reason == 0) | np.isin(gated.reason, _ASKED_OF_ALL)
    _add(refused, Gated(reason=gated.reason[~kept], overlap=gated.overlap[~kept]).counts())
    overlap = gated.overlap[kept]
    return Candidates(
        source="fringe", pairs=pairs[kept], overlap=overlap, worth=overlap + np.float32(_FIRST)
    )


def _alike(
    photos: Photos,
    heading_deg: NDArray[np.float64],
    pairs: NDArray[np.int32],
    settings: MatchingSettings,
    refused: dict[str, int],
    *,
    across: bool,
) -> Candidates:
    """Keep the retrieved pairs that may see one thing, be it across a valley."""
    if across:
        pairs = pairs[photos.side[pairs[:, 0]] != photos.side[pairs[:, 1]]]
    near, far = _near_and_far(photos, heading_deg, pairs, settings)
    kept = (near.reason == 0) | (far.reason == 0)
    _add(refused, Gated(reason=far.reason[~kept], overlap=far.overlap[~kept]).counts())
    overlap = np.maximum(near.overlap, far.overlap)[kept]
    in_street = (near.reason == 0)[kept]
    worth = np.where(in_street, near.overlap[kept], _BONUS).astype(np.float32)
    return Candidates(source="retrieval", pairs=pairs[kept], overlap=overlap, worth=worth)


def may_share_surface(
    photos: Photos,
    heading_deg: NDArray[np.float64],
    pairs: NDArray[np.int32],
    settings: MatchingSettings,
) -> NDArray[np.bool_]:
    """Say which look-alike pairs pass the gates, in a street or across a valley, shape (P,)."""
    near, far = _near_and_far(photos, heading_deg, pairs, settings)
    return np.asarray((near.reason == 0) | (far.reason == 0))


def _near_and_far(
    photos: Photos,
    heading_deg: NDArray[np.float64],
    pairs: NDArray[np.int32],
    settings: MatchingSettings,
) -> tuple[Gated, Gated]:
    limits = limits_of(settings, distance_m=settings.retrieval_distance_m)
    near = gate_pairs(scene_of(photos, heading_deg), pairs, limits)
    far = gate_pairs(scene_of(photos, heading_deg, far=True), pairs, limits)
    return near, far


def _add(refused: dict[str, int], more: dict[str, int]) -> None:
    for reason, number in more.items():
        refused[reason] = refused.get(reason, 0) + number


def _refuse_bad_positions(east_north_m: NDArray[np.float64]) -> None:
    bad = np.flatnonzero(~np.isfinite(east_north_m).all(axis=1))
    if bad.size:
        raise MatchingError(
            f"{bad.size} of {len(east_north_m)} positions are not finite (rows {bad[:3].tolist()})",
            expected="metres in the city frame",
            fix="Materialize box_plan again; photos without a position belong to no box.",
        )
