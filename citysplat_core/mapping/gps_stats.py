"""Solved places against the positions that sources gave: distance, size, direction of view."""

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from citysplat_core.mapping.angles import matrices_of, turn_between_deg, view_angles_deg

Floats = NDArray[np.float64]

CONTRADICTION_M: Final = 10.0
"""A photo that stands farther than this, and than 3 medians, from its position contradicts it."""
CONTRADICTION_DEG: Final = 60.0
"""A photo that looks this far away from its compass heading contradicts it."""
_MEDIANS: Final = 3.0
_MIN_OF_SEQUENCE: Final = 3
_GUESS_DEG: Final = 30.0


@dataclass(frozen=True, slots=True)
class GpsStats:
    """Distances from GPS and sizes, metres; NaN where nothing is known.

    Attributes:
        gps_residual_median_m: Horizontal distance of a photo from its position.
        gps_residual_p90_m: The same of nine photos of ten.
        gps_residual_up_median_m: Distance from measured altitudes.
        gps_residual_up_p90_m: The same of nine photos of ten.
        n_heights: Photos with a measured altitude.
        extent_m: Size of the solved cameras: diagonal of the box that holds 90 % of them along
            each axis; photos that contradict their position are left out.
        gps_extent_m: The same of the same photos by GPS.
        all_gps_extent_m: The same of all photos by GPS, solved or not.
    """

    gps_residual_median_m: float
    gps_residual_p90_m: float
    gps_residual_up_median_m: float
    gps_residual_up_p90_m: float
    n_heights: int
    extent_m: float
    gps_extent_m: float
    all_gps_extent_m: float

    def known(self) -> dict[str, float | int]:
        """Give the numbers that are known, rounded to millimetres."""
        values = asdict(self).items()
        return {k: v if isinstance(v, int) else round(v, 3) for k, v in values if np.isfinite(v)}


def measure_gps(solved: pd.DataFrame, given: pd.DataFrame) -> GpsStats:
    """Compare solved places with given ones.

    Args:
        solved: One row a solved photo: colmap_id, east_m, north_m, up_m; city frame.
        given: One row a photo: the same columns; NaN where unknown. The ids are unique.

    Returns:
        The numbers; of photos that have both.
    """
    both = residuals(solved, given)
    flat = both["residual_m"].dropna().to_numpy(float)
    high = both["residual_up_m"].dropna().to_numpy(float)
    fits = both[~contradicts(both["residual_m"].to_numpy(float)) & both["residual_m"].notna()]
    return GpsStats(
        gps_residual_median_m=_percentile(flat, 50),
        gps_residual_p90_m=_percentile(flat, 90),
        gps_residual_up_median_m=_percentile(high, 50),
        gps_residual_up_p90_m=_percentile(high, 90),
        n_heights=len(high),
        extent_m=extent(fits[["east_m", "north_m"]].to_numpy(float)),
        gps_extent_m=extent(fits[["east_m_gps", "north_m_gps"]].to_numpy(float)),
        all_gps_extent_m=extent(given[["east_m", "north_m"]].dropna().to_numpy(float)),
    )


def residuals(solved: pd.DataFrame, given: pd.DataFrame) -> pd.DataFrame:
    """Join solved and given places (``_gps``) with residual_m (horizontal) and residual_up_m."""
    names = ["colmap_id", "east_m", "north_m", "up_m"]
    both = solved.merge(given[names], on="colmap_id", suffixes=("", "_gps"))
    off = {k: both[f"{k}_m"] - both[f"{k}_m_gps"] for k in ("east", "north", "up")}
    flat = np.hypot(off["east"].astype(float), off["north"].astype(float))
    return both.assign(residual_m=flat, residual_up_m=off["up"].abs())


def contradicts(residual_m: Floats) -> NDArray[np.bool_]:
    """Say which photos stand far from their positions, measured by the others."""
    known = residual_m[np.isfinite(residual_m)]
    median = float(np.median(known)) if len(known) else 0.0
    far: NDArray[np.bool_] = residual_m > max(CONTRADICTION_M, _MEDIANS * median)
    return far


def extent(places: Floats) -> float:
    """Give the diagonal of the upright box that holds 90 % along each axis; NaN of nothing."""
    if not len(places):
        return float("nan")
    low, high = np.percentile(places[:, :2], [5, 95], axis=0)
    return float(np.hypot(*(high - low)))


def heading_errors(solved: pd.DataFrame, given: pd.DataFrame) -> pd.DataFrame:
    """Compare directions of view with compass headings.

    Args:
        solved: One row a solved photo: colmap_id, image_id and quaternion qw, qx, qy, qz.
        given: colmap_id, heading_deg, sequence_id.

    Returns:
        image_id, sequence_id, heading_deg, solved_deg and error_deg (0 to 180) of the photos that
        have a heading.
    """
    names = ["colmap_id", "heading_deg", "sequence_id"]
    both = solved.merge(given[names], on="colmap_id").dropna(subset=["heading_deg"])
    turned = matrices_of(both[["qw", "qx", "qy", "qz"]].to_numpy(float))
    view = view_angles_deg(turned)[:, 0] if len(both) else np.zeros(0)
    error = turn_between_deg(view, both["heading_deg"].to_numpy(float))
    kept = both[["image_id", "sequence_id", "heading_deg"]]
    return kept.assign(solved_deg=view, error_deg=error)


def doubted_sequences(errors: pd.DataFrame) -> list[dict[str, Any]]:
    """Name the sequences whose compass lies for most of their photos, with a guess how.

    Args:
        errors: What ``heading_errors`` gave.
    """
    found = []
    for name, rows in errors.groupby("sequence_id", sort=True):
        wrong = rows["error_deg"] > CONTRADICTION_DEG
        if len(rows) >= _MIN_OF_SEQUENCE and wrong.mean() > 0.5:
            found.append(
                {
                    "sequence_id": str(name),
                    "n_photos": len(rows),
                    "n_wrong": int(wrong.sum()),
                    "guess": _guess(rows["solved_deg"].to_numpy(), rows["heading_deg"].to_numpy()),
                }
            )
    return found


def _guess(solved: Floats, heading: Floats) -> str:
    """Say what a compass does: a constant turn explains more than a mirror, so it comes first."""
    turn = np.exp(1j * np.radians(solved - heading))
    offset = np.degrees(np.angle(turn.mean()))
    if np.median(turn_between_deg(solved, heading + offset)) < _GUESS_DEG:
        return f"turned by {offset:.0f} degrees"
    if np.median(turn_between_deg(solved, -heading)) < _GUESS_DEG:
        return "mirrored: counted against the clock"
    return "no rule"


def _percentile(values: Floats, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else float("nan")
