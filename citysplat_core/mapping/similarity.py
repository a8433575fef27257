"""A plane similarity that a few wrong positions cannot drag away."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DRAWS = 500
_ROUNDS = 15


@dataclass(frozen=True)
class PlaneSimilarity:
    """``target = matrix @ source + offset`` in the plane.

    Attributes:
        matrix: Scale times rotation, shape (2, 2).
        offset: Shape (2,), metres.
        residual_m: Distance of every point from its target, shape (N,), metres.
        weights: Final robust weights, 0 to 1, shape (N,).
        sigma_m: Noise level that the robust fit settled on, metres.
    """

    matrix: Floats
    offset: Floats
    residual_m: Floats
    weights: Floats
    sigma_m: float

    @property
    def scale(self) -> float:
        """Metres a unit of the source."""
        return float(np.sqrt(np.linalg.det(self.matrix)))

    @property
    def cost_m(self) -> float:
        """Mean distance after cutting at three noise levels: compares fits of one set of points."""
        return float(np.minimum(self.residual_m, 3 * self.sigma_m).mean())


def fit_plane_similarity(
    source: Floats, target: Floats, *, sigma_m: float, rng: np.random.Generator
) -> PlaneSimilarity | None:
    """Fit scale, rotation and shift robustly: random two-point draws, then reweighting.

    Args:
        source: Points, any unit, shape (N, 2).
        target: Their positions, metres, shape (N, 2).
        sigma_m: Expected error of a target, metres.
        rng: Source of the draws.

    Returns:
        The fit; None when fewer than two places are distinct in source or target.
    """
    reach = float(np.hypot(*np.ptp(target, axis=0))) if len(target) else 0.0
    spread = float(np.hypot(*np.ptp(source, axis=0))) if len(source) else 0.0
    if reach < 1e-3 or spread < 1e-9:
        return None
    start = _best_draw(
        source, target, sigma_m=sigma_m, apart_m=min(2 * sigma_m, reach / 3), rng=rng
    )
    if start is None:
        start = _closed_form(source, target, np.ones(len(source)))
    matrix, offset = start
    residual = np.linalg.norm(source @ matrix.T + offset - target, axis=1)
    for _ in range(_ROUNDS):
        noise = float(np.clip(1.5 * np.median(residual), 0.05, 3 * sigma_m))
        weights = 1 / (1 + (residual / noise) ** 2)
        matrix, offset = _closed_form(source, target, weights)
        residual = np.linalg.norm(source @ matrix.T + offset - target, axis=1)
    if not np.linalg.det(matrix) > 0:
        return None
    return PlaneSimilarity(matrix, offset, residual, weights, noise)


def _best_draw(
    source: Floats, target: Floats, *, sigma_m: float, apart_m: float, rng: np.random.Generator
) -> tuple[Floats, Floats] | None:
    """Try similarities through two points each; score by the mean of the cut distance."""
    a = rng.integers(0, len(source), _DRAWS)
    b = rng.integers(0, len(source), _DRAWS)
    src = source @ np.array([1, 1j])
    tgt = target @ np.array([1, 1j])
    usable = (np.abs(tgt[a] - tgt[b]) >= apart_m) & (np.abs(src[a] - src[b]) > 1e-9)
    if not usable.any():
        return None
    a, b = a[usable], b[usable]
    turn = (tgt[b] - tgt[a]) / (src[b] - src[a])
    shift = tgt[a] - turn * src[a]
    errors = np.abs(turn[:, None] * src[None] + shift[:, None] - tgt[None])
    best = int(np.argmin(np.minimum(errors, sigma_m).sum(axis=1)))
    return _matrix(turn[best]), np.array([shift[best].real, shift[best].imag])


def _closed_form(source: Floats, target: Floats, weights: Floats) -> tuple[Floats, Floats]:
    w = weights / weights.sum()
    src, tgt = source @ np.array([1, 1j]), target @ np.array([1, 1j])
    src_mean, tgt_mean = w @ src, w @ tgt
    a, b = src - src_mean, tgt - tgt_mean
    power = float(w @ np.abs(a) ** 2)
    turn = (w @ (np.conj(a) * b)) / max(power, 1e-18)
    shift = tgt_mean - turn * src_mean
    return _matrix(turn), np.array([shift.real, shift.imag])


def _matrix(turn: complex) -> Floats:
    return np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
