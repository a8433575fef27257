"""Levenberg-Marquardt for many residuals that each look at few unknowns.

The normal equations are factorised, which suits a city: a component touches only its neighbours, so
the factors stay sparse and the work grows with the number of residuals. The rule for the damping is
that of Nielsen, "Damping parameter in Marquardt's method" (1999).
"""

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, eye_array
from scipy.sparse.linalg import splu

from citysplat_core.errors import MappingError

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

_FIRST_DAMPING = 1e-5
_LEAST_DAMPING = 1e-9
"""Both of the largest curvature. Not 0: without GPS nothing says where the whole lies."""
_COST_TOLERANCE = 1e-9
_STEP_TOLERANCE = 1e-9


def solve_least_squares(
    residuals: Callable[[Floats], Floats],
    slopes: Callable[[Floats], csr_array],
    start: Floats,
    *,
    unit: Floats,
    max_rounds: int,
) -> Floats:
    """Find the unknowns that make the sum of squares smallest.

    Args:
        residuals: Gives M residuals for N unknowns.
        slopes: Gives their derivatives, shape (M, N).
        start: Where to begin, shape (N,).
        unit: A step of ordinary size for each unknown, shape (N,): those of all unknowns are
            damped alike.
        max_rounds: Most steps that are tried; to need more is logged as a warning.

    Returns:
        The unknowns, shape (N,). The same input gives the same output.

    Raises:
        MappingError: The residuals at ``start`` are not finite.
    """
    x, left = start, residuals(start)
    if not np.isfinite(left).all():
        raise MappingError(
            f"{np.count_nonzero(~np.isfinite(left))} of {len(left)} residuals are not finite",
            expected="finite camera poses and positions",
            fix="Solve the boxes of this city again.",
        )
    curvature, downhill = _normal_equations(slopes(x), left, unit)
    largest = curvature.diagonal().max()
    damping, growth = _FIRST_DAMPING, 2.0
    for _ in range(max_rounds):
        step = _step(curvature, downhill, damping * largest)
        tried = residuals(x + unit * step)
        gain = float(left @ left - tried @ tried)
        promised = float(step @ (downhill + damping * largest * step))
        small = float(np.abs(step).max()) < _STEP_TOLERANCE
        if not gain > 0:  # NaN too
            if small:
                break
            damping, growth = damping * growth, 2 * growth
            continue
        done = small or gain < _COST_TOLERANCE * float(left @ left)
        x, left = x + unit * step, tried
        if done:
            break
        curvature, downhill = _normal_equations(slopes(x), left, unit)
        shrink = max(1 / 3, 1 - (2 * gain / promised - 1) ** 3)
        damping, growth = max(_LEAST_DAMPING, damping * shrink), 2.0
    else:
        log.warning("The solver was stopped after %d steps, before the end", max_rounds)
    return x


def _normal_equations(slopes: csr_array, left: Floats, unit: Floats) -> tuple[csc_array, Floats]:
    data = slopes.data * unit[slopes.indices]
    scaled = csr_array((data, slopes.indices, slopes.indptr), shape=slopes.shape)
    return csc_array(scaled.T @ scaled), np.asarray(-(scaled.T @ left))


def _step(curvature: csc_array, downhill: Floats, damping: float) -> Floats:
    factors = splu(
        csc_array(curvature + damping * eye_array(len(downhill), format="csc")),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return np.asarray(factors.solve(downhill))
