"""Photos that stand a house off although their own sequence says otherwise.

Where a car turns at a crossing, the photos behind the turn may see the look-alike of the right
house: from there on all stand some metres off, hold each other, and share points with the photos
before. GPS alone does not tell: it is off by as much. But its error does not jump from one photo of
a drive to the next, together with the model, where the drive goes on as before.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import pycolmap
from numpy.typing import NDArray

from citysplat_core.mapping.georegister import Positions, georegister, poses_of
from citysplat_core.mapping.sequences import Sequences
from citysplat_core.mapping.splitting import keep_photos

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_LEAST: Final = 3
_WINDOW: Final = 8
"""Photos before and after a step whose mean offset from GPS is compared."""
_DEVIATIONS: Final = 4.0
_SLACK_M: Final = 2.0
_LEAST_NOISE_M: Final = 0.5
_STEPS: Final = 2.0
"""A step that differs from those around it by so many median steps of the drive is a jump."""
_ALIKE: Final = 1.5
"""Of runs whose lengths differ by more than this factor the shorter one slipped."""


def part_slips(
    models: Iterable[pycolmap.Reconstruction],
    positions: Positions,
    sequences: Sequences,
    *,
    sigma_m: float,
    seed: int,
) -> list[pycolmap.Reconstruction]:
    """Take runs of photos that slipped out of their models; each becomes a model of its own.

    Args:
        models: Any models, each in its own frame; those with slips are replaced by copies.
        positions: GPS positions by colmap_id, city frame, metres.
        sequences: Photos of every sequence in their order.
        sigma_m: Expected GPS error, metres.
        seed: Of the random draws of georegistration.

    Returns:
        The models without their slips, then the slips; parts of fewer than three photos are gone.
    """
    whole, apart = [], []
    for model in models:
        placed = georegister(model, positions, sigma_m=sigma_m, seed=seed)
        if placed is None:
            whole.append(model)
            continue
        sim = placed.city_from_model
        places = {i: (sim * pose.inverse().translation)[:2] for i, pose in poses_of(model).items()}
        slips = find_slips(places, positions, sequences)
        if not slips:
            whole.append(model)
            continue
        log.info("Runs of photos that stand a house off: %s", [len(run) for run in slips])
        whole.append(keep_photos(model, set(places).difference(*slips)))
        apart += [keep_photos(model, set(run)) for run in slips]
    return [model for model in [*whole, *apart] if model.num_reg_images() >= _LEAST]


def find_slips(
    places: Mapping[int, Floats], positions: Positions, sequences: Sequences
) -> list[list[int]]:
    """Find the runs of photos of a sequence that stand off by a jump.

    The offset from GPS must change at one step by more than 2 m and four deviations of the means of
    up to eight photos on each side, and the model's step must differ from those around it by twice
    the drive's median step. A step over photos that are not in the model is never a jump.

    Args:
        places: East and north of cameras in the model, city frame, by colmap_id, metres.
        positions: GPS positions by colmap_id.
        sequences: Photos of every sequence in their order.

    Returns:
        Of the two runs beside each jump, which end at the next jump or end, the shorter one; of two
        that are about as long, the one whose mean offset from GPS is larger.
    """
    drives = [
        run for ids in sequences for run in _without_gaps(ids, places.keys() & positions.keys())
    ]
    if not drives:
        return []
    at = [np.array([places[i] for i in ids]) for ids in drives]
    moved = [
        mine - np.array([positions[i][:2] for i in ids])
        for mine, ids in zip(at, drives, strict=True)
    ]
    changes = np.abs(np.concatenate([np.diff(each, axis=0) for each in moved]))
    noise_m = max(1.48 * float(np.median(changes)) / np.sqrt(2.0), _LEAST_NOISE_M)
    return [
        ids[first:last]
        for ids, mine, off in zip(drives, at, moved, strict=True)
        for first, last in _slipped(off, _jumps(mine, off, noise_m))
    ]


def _without_gaps(ids: Sequence[int], known: Collection[int]) -> list[list[int]]:
    """Cut a sequence where photos are not known; runs that are long enough to tell."""
    runs: list[list[int]] = [[]]
    for image_id in ids:
        if image_id in known:
            runs[-1].append(image_id)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) >= 2 * _LEAST]


def _jumps(places: Floats, moved: Floats, noise_m: float) -> list[int]:
    """Give the first photo behind each jump of a sequence, in order.

    The largest jump is found first; what lies before and behind it is searched again, each alone.
    """
    if len(moved) < 2 * _LEAST:
        return []
    steps = np.diff(places, axis=0)
    around = (np.vstack([steps[1:2], steps[:-1]]) + np.vstack([steps[1:], steps[-2:-1]])) / 2
    odd_m = np.hypot(*(steps - around).T)
    least_m = max(_STEPS * float(np.median(np.hypot(*steps.T))), _SLACK_M)
    excess = np.zeros(len(moved))
    for k in range(_LEAST, len(moved) - _LEAST + 1):
        before, after = moved[max(0, k - _WINDOW) : k], moved[k : k + _WINDOW]
        change = float(np.hypot(*(after.mean(axis=0) - before.mean(axis=0))))
        limit = _SLACK_M + _DEVIATIONS * noise_m * np.sqrt(1 / len(before) + 1 / len(after))
        excess[k] = change - limit if odd_m[k - 1] > least_m else 0.0
    largest = int(np.argmax(excess))
    if excess[largest] <= 0:
        return []
    first = _jumps(places[:largest], moved[:largest], noise_m)
    behind = _jumps(places[largest:], moved[largest:], noise_m)
    return [*first, largest, *(largest + k for k in behind)]


def _slipped(moved: Floats, jumps: Sequence[int]) -> list[tuple[int, int]]:
    """Choose at each jump the shorter run, or of two of like length the one that is farther off."""
    chosen = set()
    for one, other in pairwise(pairwise([0, *jumps, len(moved)])):
        off_one, off_other = (
            float(np.hypot(*moved[first:last].mean(axis=0))) for first, last in (one, other)
        )
        ratio = (one[1] - one[0]) / (other[1] - other[0])
        if 1 / _ALIKE < ratio < _ALIKE:
            chosen.add(one if off_one > off_other else other)
        else:
            chosen.add(one if ratio < 1 else other)
    return sorted(chosen)
