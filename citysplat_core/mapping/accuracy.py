"""How far a solved camera may stand from where it says: an estimate that GPS can defend.

Inside a component cameras stand to centimetres; where the component stands in the world is known
from GPS alone. Residuals do not show an error that all positions of a drive share (satellites,
antenna, map matching), so it is not averaged over photos but over sequences, and it is never taken
to be smaller than the settings say.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CORRELATED = 4
"""So many successive GPS positions share their noise, as in the scale of a component."""
_MAD = 1.4826
_CONTRADICTS = 3.0
_LOCAL_M = 0.05
"""What a camera may be off inside its component: bundle adjustment's share, metres."""


@dataclass(frozen=True, slots=True)
class GpsErrors:
    """What is expected of GPS before any residual is seen.

    Attributes:
        shared_m: Error that the positions of a sequence share, along east or north, metres.
        shared_up_m: The same of their heights, metres.
        tilt_deg: Error of a component's vertical, degrees.
    """

    shared_m: float
    shared_up_m: float
    tilt_deg: float


def estimate_accuracy(cameras: pd.DataFrame, errors: GpsErrors) -> tuple[Floats, Floats]:
    """Estimate the absolute accuracy of solved cameras, component by component.

    Args:
        cameras: One row a camera: solved_in, component, sequence_id (may be null), east_m,
            north_m, up_m (solved) and gps_east_m, gps_north_m, gps_up_m (NaN where unknown); city
            frame, metres.
        errors: What is expected of GPS.

    Returns:
        Expected root-mean-square errors in metres, each of shape (N,): horizontal (over both axes)
        and vertical. NaN where no photo of the component has a GPS position, or a height.
    """
    horizontal = np.full(len(cameras), np.nan)
    vertical = np.full(len(cameras), np.nan)
    groups = cameras.groupby(["solved_in", "component"], sort=False).indices
    for rows in groups.values():
        mine = cameras.iloc[rows]
        solved = mine[["east_m", "north_m", "up_m"]].to_numpy(float)
        gps = mine[["gps_east_m", "gps_north_m", "gps_up_m"]].to_numpy(float)
        names = mine["sequence_id"].fillna("").to_numpy(str)
        horizontal[rows], vertical[rows] = _of_component(solved, gps, names, errors)
    return horizontal, vertical


def _of_component(
    solved: Floats, gps: Floats, sequences: NDArray[np.str_], errors: GpsErrors
) -> tuple[Floats, Floats]:
    off = solved - gps
    known = np.isfinite(off[:, :2]).all(axis=1)
    if not known.any():
        nothing = np.full(len(solved), np.nan)
        return nothing, nothing
    pivot = solved[known].mean(axis=0)
    away = np.linalg.norm(solved[:, :2] - pivot[:2], axis=1)
    spread = max(float(np.sqrt((away[known] ** 2).mean())), 1e-6)
    noise = float(np.sqrt((_scatter(off[known, :2]) ** 2).mean()))
    placed = sum(_placement(off[known, axis], sequences[known], errors.shared_m) for axis in (0, 1))
    # Noise of n positions turns and stretches the component by about this share of a distance.
    lever = noise * np.sqrt(_CORRELATED / max(int(known.sum()), 1)) / spread
    horizontal = np.sqrt(placed + 2 * (lever * away) ** 2 + _LOCAL_M**2)
    expected = np.sqrt(2 * (noise**2 + errors.shared_m**2))
    horizontal = _doubted(horizontal, np.hypot(off[:, 0], off[:, 1]), float(expected))
    high = known & np.isfinite(off[:, 2])
    if not high.any():
        return horizontal, np.full(len(solved), np.nan)
    lifted = _placement(off[high, 2], sequences[high], errors.shared_up_m)
    tilt = np.tan(np.radians(errors.tilt_deg)) * away
    vertical = np.sqrt(lifted + tilt**2 + _LOCAL_M**2)
    expected = np.hypot(_scatter(off[high, 2:])[0], errors.shared_up_m)
    return horizontal, _doubted(vertical, np.abs(off[:, 2]), float(expected))


def _doubted(accuracy: Floats, residual: Floats, expected_m: float) -> Floats:
    """Believe no camera that its own position contradicts: one of the two is wrong."""
    is_wrong = residual > _CONTRADICTS * np.hypot(accuracy, expected_m)
    return np.where(is_wrong, residual, accuracy)


def _placement(off: Floats, sequences: NDArray[np.str_], shared_m: float) -> float:
    """Give the variance of a component's place along one axis, square metres."""
    names, index = np.unique(sequences, return_inverse=True)
    means = np.array([np.median(off[index == k]) for k in range(len(names))])
    between = float(_scatter(means[:, None])[0]) if len(names) > 3 else 0.0
    noise = float(_scatter(off[:, None])[0])
    shared = max(shared_m, between) ** 2 / len(names)
    # What alignment moved the component away from its own GPS may be right or wrong.
    moved = float(np.median(off)) ** 2
    return shared + noise**2 * _CORRELATED / max(len(off), _CORRELATED) + moved


def _scatter(values: Floats) -> Floats:
    """Give the robust standard deviation of each column about its median."""
    centre = np.median(values, axis=0)
    deviation: Floats = _MAD * np.median(np.abs(values - centre), axis=0)
    return deviation
