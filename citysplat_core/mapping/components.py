"""Place, prune and judge what a mapper made: is it where GPS says, and as large?"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pycolmap

from citysplat_core.mapping.georegister import (
    Georegistration,
    Positions,
    describe_positions,
    georegister,
)
from citysplat_core.mapping.loose import find_loose
from citysplat_core.mapping.sightings import is_firm
from citysplat_core.mapping.vouching import Partners, is_vouched_for
from citysplat_core.settings import MappingSettings

_ROUNDS = 3
_PRUNE_MEDIANS = 3.0
_LENIENCY = 4.0
_EXTENT_RATIO = 2.0


@dataclass(frozen=True)
class Component:
    """One reconstruction, placed and judged.

    Attributes:
        model: In the city frame if ``placed`` is not None, else as the mapper left it.
        placed: How it was brought there.
        pruned: Photos taken out, by colmap_id, with their GPS residual in metres.
        loose: Photos of neighbours that were taken out; see ``loose.find_loose``.
        accepted: Whether what follows may use it.
        reason: Why it is refused, or a warning.
        numbers: The columns of ``components.parquet`` between ``component`` and ``accepted``.
        firm: Whether its photos hold each other so that a warning doubts GPS, not its shape; see
            ``sightings.is_firm``.
    """

    model: pycolmap.Reconstruction
    placed: Georegistration | None
    pruned: dict[int, float]
    accepted: bool
    reason: str
    numbers: dict[str, Any] = field(default_factory=dict)
    loose: frozenset[int] = frozenset()
    firm: bool = False

    @property
    def is_trusted(self) -> bool:
        """Whether it is accepted without a warning, or with one that is of GPS alone."""
        return self.accepted and (self.firm or not self.reason)

    @property
    def image_ids(self) -> list[int]:
        """Registered photos, sorted."""
        return sorted(self.model.reg_image_ids())


def judge(
    model: pycolmap.Reconstruction,
    *,
    positions: Positions,
    home_ids: Collection[int],
    partners: Partners,
    beside: Partners,
    settings: MappingSettings,
    kept: Collection[int] = (),
) -> Component:
    """Georegister a model, take out photos that contradict GPS or hang loosely, and decide.

    Args:
        model: What a mapper made; it is changed: pruned and, if it can be placed, transformed.
        positions: GPS positions by colmap_id, city frame.
        home_ids: Photos of the box itself.
        partners: Verified partners of every photo; they may speak for one that contradicts GPS.
        beside: The photos before and after each photo of a sequence; so may they.
        settings: Thresholds.
        kept: Photos of neighbours that stay, however loosely they hang.

    Returns:
        The component; ``accepted`` with its reason.
    """
    n_solved = model.num_reg_images()
    placed, pruned = _place_and_prune(model, positions, partners, beside, settings)
    if placed is not None:
        model.transform(placed.city_from_model)
    # After placing: their GPS positions help as those of all others do.
    loose = find_loose(model, home_ids, min_shared=settings.min_shared_points) - set(kept)
    _take_out(model, loose)
    model.update_point_3d_errors()
    numbers = _measure(model, placed, positions, home_ids, settings)
    reason = _refusal(numbers, n_solved - len(loose), settings)
    if placed is None and not reason:
        reason = describe_positions(model, positions)
    accepted = not reason
    if accepted and numbers["gps_residual_median_m"] > settings.max_median_residual_m:
        reason = (
            f"warning: GPS residual median {numbers['gps_residual_median_m']:.1f} m is over "
            f"{settings.max_median_residual_m:g} m: trust the shape, not the position"
        )
    firm = accepted and bool(reason) and is_firm(model)  # without a warning nobody asks
    return Component(model, placed, pruned, accepted, reason, numbers, frozenset(loose), firm)


def _take_out(model: pycolmap.Reconstruction, ids: Collection[int]) -> None:
    for image_id in sorted(ids):
        model.deregister_frame(model.image(image_id).frame_id)


def _place_and_prune(
    model: pycolmap.Reconstruction,
    positions: Positions,
    partners: Partners,
    beside: Partners,
    settings: MappingSettings,
) -> tuple[Georegistration | None, dict[int, float]]:
    pruned: dict[int, float] = {}
    placed = None
    for last in range(_ROUNDS + 1):
        placed = georegister(model, positions, sigma_m=settings.gps_sigma_m, seed=settings.seed)
        if placed is None or last == _ROUNDS:
            break
        residual_m = placed.residual_m
        limit_m = _limit_m(residual_m, settings)
        wrong = {
            i: r
            for i, r in residual_m.items()
            if r > limit_m
            and not is_vouched_for(
                model,
                i,
                partners=partners,
                beside=beside,
                residual_m=residual_m,
                limit_m=limit_m,
            )
        }
        if not wrong or model.num_reg_images() - len(wrong) < settings.min_model_size:
            break
        _take_out(model, wrong)
        pruned |= wrong
    return placed, pruned


def _limit_m(residual_m: Mapping[int, float], settings: MappingSettings) -> float:
    """Give the GPS residual beyond which a photo is suspect, metres."""
    median_m = float(np.median(list(residual_m.values()) or [0.0]))
    return max(settings.max_residual_m, _PRUNE_MEDIANS * median_m)


def _measure(
    model: pycolmap.Reconstruction,
    placed: Georegistration | None,
    positions: Positions,
    home_ids: Collection[int],
    settings: MappingSettings,
) -> dict[str, Any]:
    ids = sorted(model.reg_image_ids())
    every_m = placed.residual_m if placed else {}
    residual_m = {i: every_m[i] for i in ids if i in every_m}
    residual = list(residual_m.values())
    # A photo that others vouch for may have a GPS position a kilometre away: no measure of size.
    limit_m = _limit_m(residual_m, settings)
    near = [i for i in ids if i in positions and not residual_m.get(i, 0.0) > limit_m]
    near_centers = np.array([model.image(i).projection_center() for i in near]).reshape(-1, 3)
    known = np.array([positions[i] for i in near]).reshape(-1, 3)
    return {
        "n_images": len(ids),
        "n_home_images": len(set(ids) & set(home_ids)),
        "n_points": model.num_points3D(),
        "mean_track_length": float(model.compute_mean_track_length()),
        "reproj_error_px": float(model.compute_mean_reprojection_error()),
        "gps_residual_median_m": float(np.median(residual)) if residual else float("nan"),
        "gps_residual_p90_m": float(np.percentile(residual, 90)) if residual else float("nan"),
        "extent_m": _extent(near_centers) if placed else float("nan"),
        "gps_extent_m": _extent(known),
        "scale_std": placed.scale_std if placed else float("nan"),
    }


def _extent(points: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """Diagonal of the horizontal bounding box, metres."""
    return float(np.hypot(*np.ptp(points[:, :2], axis=0))) if len(points) else 0.0


def _refusal(numbers: dict[str, Any], n_solved: int, settings: MappingSettings) -> str:
    """Say why a component is refused, or nothing; the order is from plain to subtle."""
    n_images, median_m = numbers["n_images"], numbers["gps_residual_median_m"]
    extent_m, gps_extent_m = numbers["extent_m"], numbers["gps_extent_m"]
    scale_std = numbers["scale_std"]
    strict_m = settings.max_median_residual_m
    share_m = min(settings.max_median_residual_share * extent_m, _LENIENCY * strict_m)
    limit_m = max(strict_m, share_m)
    ratio = extent_m / gps_extent_m if gps_extent_m >= 4 * median_m > 0 else 1.0
    checks = (
        (numbers["n_home_images"] == 0, "it holds no photo of this box"),
        (
            n_images < settings.min_model_size,
            f"{n_images} photos are left, fewer than {settings.min_model_size}",
        ),
        (n_images <= n_solved / 2, f"{n_solved - n_images} of {n_solved} photos contradict GPS"),
        (median_m > limit_m, f"GPS residual median {median_m:.1f} m is over {limit_m:.1f} m"),
        (scale_std > settings.max_scale_std, f"GPS fixes its scale to {scale_std:.0%} only"),
        (
            not 1 / _EXTENT_RATIO < ratio < _EXTENT_RATIO,
            f"it spans {extent_m:.1f} m where GPS spans {gps_extent_m:.1f} m",
        ),
    )
    return next((reason for is_wrong, reason in checks if is_wrong), "")
