"""When a finished model is kept and updated, and when its box is solved again.

Everything is measured against the box as it was last solved, not against the version before: many
small updates must not add up to a change that one large update would not be allowed.
"""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import pandas as pd
import pycolmap

from citysplat_core.mapping.changes import Change
from citysplat_core.mapping.components import Component
from citysplat_core.mapping.lineage import PLACE_COLUMNS, Earlier
from citysplat_core.mapping.similarity import Floats
from citysplat_core.settings import UpdateSettings

_LEAST_PIXEL_ERROR: Final = 0.5
_LEAST_RESIDUAL_M: Final = 1.0
"""Smaller errors than these may double: that is no sign of anything."""
_DRIFT_PERCENT: Final = 95
_LEAST_FIT: Final = 3


def refuse_before(earlier: Earlier, change: Change, rule: UpdateSettings) -> str:
    """Say why a box is solved again without trying to update it; nothing if it may be tried.

    Args:
        earlier: The version in force.
        change: What is different now.
        rule: The rule.
    """
    known = set(earlier.solved["colmap_id"].tolist())
    was_placed = _placed(earlier.solved)
    n_new = len(change.present - known)
    n_lost = len(was_placed - change.present | was_placed & change.lost)
    stay = known & change.present
    before, now = (
        {pair for pair in pairs if stay.issuperset(pair)} for pairs in (earlier.pairs, change.pairs)
    )
    n_pairs, n_changed = len(before | now), len(before ^ now)
    checks = (
        (n_new, len(known), rule.max_new_share, "photos are new", "max_new_share"),
        (n_lost, len(was_placed), rule.max_lost_share, "photos are lost", "max_lost_share"),
        (
            *(n_changed, n_pairs, rule.max_changed_pairs_share),
            *("pairs of photos that stay have changed", "max_changed_pairs_share"),
        ),
    )
    return next(
        (
            f"{n} of {total} {what} since it was solved, over {name} = {limit:g}"
            for n, total, limit, what, name in checks
            if n > limit * total
        ),
        "",
    )


def refuse_after(
    earlier: Earlier,
    change: Change,
    components: Sequence[Component],
    rule: UpdateSettings,
) -> str:
    """Say why an updated model is not believed and the box is solved again; nothing if it is.

    Args:
        earlier: The version in force.
        change: What was different.
        components: The updated components, judged.
        rule: The rule.
    """
    accepted = [c for c in components if c.accepted]
    now = {i for c in accepted for i in c.image_ids}
    before, was_placed = earlier.registered, _placed(earlier.solved)
    owed = len(before) - len(before & change.lost)
    if len(now) < owed:
        return f"{len(now)} photos are registered where {owed} were that have not gone"
    n_lost = len(was_placed - now)
    if n_lost > rule.max_lost_share * len(was_placed):
        limit = rule.max_lost_share
        return f"{n_lost} of {len(was_placed)} photos are lost, over max_lost_share = {limit:g}"
    return (
        _few_joined(earlier, change, now, rule)
        or _grown_residual(earlier, accepted, rule)
        or _drifted(drift_of(earlier, accepted), rule)
    )


def _placed(solved: pd.DataFrame) -> set[int]:
    return set(solved.loc[solved["component"] >= 0, "colmap_id"].tolist())


def _few_joined(
    earlier: Earlier, change: Change, now: Collection[int], rule: UpdateSettings
) -> str:
    """Compare how many new photos are registered with how many old ones are, of those tied."""
    n_tied, n_joined = len(change.tied), len(change.tied & set(now))
    images = earlier.images
    in_pairs = {i for pair in earlier.pairs for i in pair}
    was_tied = images["colmap_id"].isin(in_pairs) | (images["component"] >= 0)
    usual = float((images.loc[was_tied, "component"] >= 0).mean()) if was_tied.any() else 1.0
    least = rule.min_joined_share * usual * n_tied
    if n_joined >= np.floor(least):  # rounded down: one photo alone need not join
        return ""
    return (
        f"{n_joined} of {n_tied} new photos with pairs could be registered, where {usual:.0%} of "
        f"the old ones are; min_joined_share = {rule.min_joined_share:g}"
    )


def _grown_residual(earlier: Earlier, accepted: Sequence[Component], rule: UpdateSettings) -> str:
    residual_m = {
        i: r for c in reversed(accepted) if c.placed for i, r in c.placed.residual_m.items()
    }
    solved = earlier.solved.dropna(subset=["gps_residual_m"]).set_index("colmap_id")
    both = [i for i in solved.index if i in residual_m]
    then = solved.loc[both, "gps_residual_m"].to_numpy(float)
    now = np.array([residual_m[i] for i in both])
    compared = [
        (f"{name} GPS residual of the old photos (m)", _percentile(then, p), _percentile(now, p), f)
        for name, p, f in (("median", 50, _LEAST_RESIDUAL_M), ("90 %", 90, _LEAST_RESIDUAL_M))
    ]
    pixels = pixel_error_of(accepted)
    compared.append(
        ("reprojection error (px)", earlier.lineage.pixel_error, pixels, _LEAST_PIXEL_ERROR)
    )
    return next(
        (
            f"the {what} is {is_now:.2f} and was {was:.2f} when it was solved, over "
            f"max_residual_growth = {rule.max_residual_growth:g}"
            for what, was, is_now, floor in compared
            if is_now > rule.max_residual_growth * max(was, floor)
        ),
        "",
    )


def _percentile(values: Floats, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else 0.0


def pixel_error_of(components: Sequence[Component]) -> float:
    """Give the mean reprojection error over the points of all accepted components, pixels."""
    rows = [(c.numbers["reproj_error_px"], c.numbers["n_points"]) for c in components if c.accepted]
    total = sum(n for _, n in rows)
    return sum(e * n for e, n in rows) / total if total else float("nan")


def drift_of(earlier: Earlier, accepted: Sequence[Component]) -> float:
    """Measure how far photos have moved inside their components since the box was solved.

    A component that was shifted, turned or scaled as a whole, because new photos know better where
    it is, has not moved in this sense: that is taken out by the best similarity.

    Args:
        earlier: Knows the places of then.
        accepted: The components of now, city frame.

    Returns:
        The distance that 19 of 20 photos stay below, metres; 0 if nothing can be compared.
    """
    solved = earlier.solved[earlier.solved["component"] >= 0]
    then = dict(
        zip(solved["colmap_id"].tolist(), solved[list(PLACE_COLUMNS)].to_numpy(float), strict=True)
    )
    part = dict(zip(solved["colmap_id"].tolist(), solved["component"].tolist(), strict=True))
    moves: list[Floats] = []
    for component in accepted:
        both = [i for i in component.image_ids if i in then]
        # A photo of several components: its place then was the one in the largest of them.
        for number in sorted({part[i] for i in both}):
            ids = [i for i in both if part[i] == number]
            if len(ids) >= _LEAST_FIT:
                now = [component.model.image(i).projection_center() for i in ids]
                moves.append(_moves_m(np.array([then[i] for i in ids]), np.array(now)))
    every = np.concatenate(moves) if moves else np.zeros(0)
    return _percentile(every, _DRIFT_PERCENT)


def _moves_m(then: Floats, now: Floats) -> Floats:
    fit = pycolmap.estimate_sim3d(then, now)
    if fit is None:
        return np.zeros(0)
    turned = fit.scale * fit.rotation.matrix()
    return np.asarray(np.linalg.norm(then @ turned.T + fit.translation - now, axis=1))


def _drifted(drift_m: float, rule: UpdateSettings) -> str:
    if drift_m <= rule.max_drift_m:
        return ""
    return (
        f"old photos have moved by {drift_m:.2f} m since it was solved, over "
        f"max_drift_m = {rule.max_drift_m:g}"
    )
