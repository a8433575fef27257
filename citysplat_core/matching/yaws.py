"""Headings that all neighbours in a sequence agree on: turns, baselines and compass weighed.

Turns between neighbours are good to a degree and say nothing of north; baselines point where GPS
moved; a compass may be right or lie for a whole sequence. How far it is believed follows from how
well it agrees, sequence by sequence, with the other two.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

from citysplat_core.matching.depths import laplacian
from citysplat_core.matching.headings import UPRIGHT_COSINE, azimuth_deg
from citysplat_core.matching.pairs import wrap_deg
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.verify import Edges

_TURN_SIGMA_DEG: Final = 3.0
_STEP_SIGMA_M: Final = 1.4
"""Error of the way between neighbours in a sequence."""
_SHORTEST_M: Final = 3.0
"""Shorter baselines have no direction."""
_STEEPEST: Final = 0.5
_LEAST_WITNESSES: Final = 4
_MOST_COMPASS_DEG: Final = 15.0
"""A compass that is usually farther off is not heard."""
_LEAST_COMPASS_DEG: Final = 1.5
_AGREEING: Final = 0.35
"""Share of a sequence whose pairs must agree with its compass: look-alikes turn the rest."""
_ROUNDS: Final = 30
_WIDEST, _COOLING = 30.0, 0.75
"""Scale of the robust loss at first and its factor a round: a photo that starts wrong by 50 degrees
must still hear its neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Yaws:
    """Headings and what the pairs of neighbours say against them.

    Attributes:
        heading_deg: Clockwise from north, NaN where no neighbour says anything, or all that do know
            only their turns, shape (N,).
        turn_error_deg: Of the turn of each pair of neighbours, NaN for others, shape (E,).
        direction_error_deg: Of its baseline, NaN where too short, shape (E,).
        compass_sigma_deg: Error of each photo's compass by its sequence, NaN if not heard,
            shape (N,).
    """

    heading_deg: NDArray[np.float64]
    turn_error_deg: NDArray[np.float64]
    direction_error_deg: NDArray[np.float64]
    compass_sigma_deg: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Witnesses:
    """Turns of pairs (a, b), and headings that baselines give to their two photos."""

    edge: NDArray[np.intp]
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    turn: NDArray[np.float64]
    said: NDArray[np.float64]
    said_sigma: NDArray[np.float64]
    is_long: NDArray[np.bool_]


def solve_yaws(
    photos: Photos,
    edges: Edges,
    neighbours: NDArray[np.bool_],
    start_deg: NDArray[np.float64],
) -> Yaws:
    """Solve the headings of all photos.

    Args:
        photos: The photos, with GPS and compass.
        edges: Verified pairs.
        neighbours: Which of them are near each other in a sequence, shape (E,).
        start_deg: First guess, NaN where there is none, shape (N,).
    """
    witnesses = _hear(photos, edges, neighbours)
    silent = np.full(len(photos), np.nan)
    start = np.where(np.isfinite(start_deg), start_deg, photos.heading_deg)
    heard = np.zeros(len(photos), dtype=bool)
    heard[witnesses.a] = heard[witnesses.b] = True  # no compass vouches for itself
    heading = _solve(photos, witnesses, np.nan_to_num(start), silent)
    trusted = _compass_sigma(photos, np.where(np.isfinite(start) & heard, heading, np.nan))
    heading = _solve(photos, witnesses, heading, trusted)
    turned, astray = np.full(len(edges), np.nan), np.full(len(edges), np.nan)
    a, b = witnesses.a, witnesses.b
    turned[witnesses.edge] = np.abs(wrap_deg(witnesses.turn - (heading[b] - heading[a])))
    gap = np.abs(wrap_deg(witnesses.said - np.stack([heading[a], heading[b]])))
    astray[witnesses.edge] = np.where(witnesses.is_long, gap.max(axis=0), np.nan)
    is_known = heard & _know_north(witnesses, trusted)
    is_known |= np.isfinite(trusted) & np.isfinite(photos.heading_deg)
    return Yaws(
        heading_deg=np.where(is_known, heading % 360.0, np.nan),
        turn_error_deg=turned,
        direction_error_deg=astray,
        compass_sigma_deg=trusted,
    )


def _hear(photos: Photos, edges: Edges, neighbours: NDArray[np.bool_]) -> _Witnesses:
    chosen = np.flatnonzero(neighbours & (edges.rotation[:, 1, 1] > UPRIGHT_COSINE))
    a, b = edges.rows[chosen].T
    rotation = edges.rotation[chosen]
    length = np.linalg.norm(edges.translation[chosen], axis=1, keepdims=True)
    to_first = edges.translation[chosen] / np.maximum(length, 1e-12)
    to_second = -np.einsum("eji,ej->ei", rotation, to_first)
    move = photos.east_north_m[b] - photos.east_north_m[a]
    bearing = np.degrees(np.arctan2(move[:, 0], move[:, 1]))
    said = [bearing - azimuth_deg(to_second), bearing + 180.0 - azimuth_deg(to_first)]
    way_m = np.hypot(move[:, 0], move[:, 1])
    return _Witnesses(
        edge=chosen, a=a, b=b,
        turn=azimuth_deg(rotation[:, 2, :]),
        said=wrap_deg(np.stack(said)),
        said_sigma=np.degrees(np.arctan2(_STEP_SIGMA_M, way_m)) + 2.0,
        is_long=(way_m > _SHORTEST_M) & (np.abs(to_first[:, 1]) < _STEEPEST),
    )  # fmt: skip


def _solve(
    photos: Photos,
    heard: _Witnesses,
    start_deg: NDArray[np.float64],
    compass_sigma_deg: NDArray[np.float64],
) -> NDArray[np.float64]:
    n = len(photos)
    owner = np.concatenate([heard.a[heard.is_long], heard.b[heard.is_long]])
    said = heard.said[:, heard.is_long].ravel()
    sigma = np.tile(heard.said_sigma[heard.is_long], 2)
    compass = np.flatnonzero(np.isfinite(compass_sigma_deg) & np.isfinite(photos.heading_deg))
    owner, said = np.append(owner, compass), np.append(said, photos.heading_deg[compass])
    sigma = np.append(sigma, compass_sigma_deg[compass])
    heading, width = start_deg.copy(), _WIDEST
    for _ in range(_ROUNDS):
        turn = wrap_deg(heard.turn - (heading[heard.b] - heading[heard.a]))
        gap = wrap_deg(said - heading[owner])
        w_turn = _weight(turn / (2.0 * _TURN_SIGMA_DEG * width)) / _TURN_SIGMA_DEG**2
        w_said = _weight(gap / (1.5 * sigma * np.sqrt(width))) / sigma**2
        matrix = laplacian(heard.a, heard.b, w_turn, n)
        matrix = matrix + diags_array(np.bincount(owner, w_said, n) + 1e-5)
        pull = np.bincount(heard.b, w_turn * turn, n) - np.bincount(heard.a, w_turn * turn, n)
        heading = heading + spsolve(matrix.tocsc(), pull + np.bincount(owner, w_said * gap, n))
        width = max(1.0, width * _COOLING)
    return heading


def _know_north(heard: _Witnesses, compass_sigma_deg: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which photos are tied by turns to one with a baseline or a compass, shape (N,)."""
    n = len(compass_sigma_deg)
    ties = coo_array((np.ones(len(heard.a)), (heard.a, heard.b)), shape=(n, n))
    _, part = connected_components(ties, directed=False)
    points = np.isfinite(compass_sigma_deg)
    points[heard.a[heard.is_long]] = True
    return np.asarray(np.bincount(part, points, n)[part] > 0)


def _weight(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of the Geman-McClure loss."""
    return 1.0 / (1.0 + x**2) ** 2


def _compass_sigma(photos: Photos, heading_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Judge the compass of each sequence by its usual difference from the solved headings."""
    sigma = np.full(len(photos), np.nan)
    gap = np.abs(wrap_deg(heading_deg - photos.heading_deg))
    for number in np.unique(photos.sequence[photos.sequence >= 0]):
        rows = np.flatnonzero(photos.sequence == number)
        known = gap[rows][np.isfinite(gap[rows])]
        usual = np.inf
        if len(known) >= _LEAST_WITNESSES:
            usual = 2.0 * float(np.quantile(known, _AGREEING))
        if usual < _MOST_COMPASS_DEG:
            sigma[rows] = max(usual, _LEAST_COMPASS_DEG)
    return sigma
