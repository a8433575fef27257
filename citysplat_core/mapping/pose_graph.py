"""One similarity per component, so that shared photos agree and GPS is kept.

Unknowns are seven numbers a component: log scale, rotation vector, shift. Seams measured in metres
would shrink the models (the fewer metres, the smaller the seams): they are measured in the models'
own units, and every log scale is held near its georegistered value.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.least_squares import solve_least_squares
from citysplat_core.mapping.slopes import (
    cauchy,
    cauchy_slopes,
    cross_matrices,
    rotvec_slopes,
    sparse_rows,
    turn_slopes,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CAUCHY_SEAM = 3.0
_CAUCHY_GPS = 1.0
_CORRELATED = 100.0
"""More positions than this count as this many. Few made GPS so weak that one bent model's seams
scaled whole streets of the demo town by a fifth."""
_SOFTER = (20.0, 1.0)
"""Seams are some metres wide at first: a soft round keeps true ones from looking like outliers."""
_UNIT = (1e-2, 1e-2, 1e-2, 1e-2, 1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Sigmas:
    """Expected errors, one standard deviation each.

    Attributes:
        seam_m: Position of a photo in two models, metres.
        seam_deg: Its rotation, degrees.
        gps_m: Horizontal GPS, metres.
        gps_up_m: GPS height, metres.
        up_deg: Up vector of a component, degrees.
        log_scale: Scale of a component, relative.
    """

    seam_m: float = 0.1
    seam_deg: float = 0.3
    gps_m: float = 3.0
    gps_up_m: float = 9.0
    up_deg: float = 2.0
    log_scale: float = 0.03


@dataclass(frozen=True, kw_only=True)
class Cameras:
    """Poses of photos in components, in the city frame before alignment; one row a registration.

    Attributes:
        node: Component index, shape (N,).
        center: Camera centres, metres, shape (N, 3).
        rotation: ``cam_from_world`` rotations, N of them.
    """

    node: Ints
    center: Floats
    rotation: Rotation


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What ties the components.

    Attributes:
        n_nodes: Number of components.
        pivots: A point in the middle of each component, metres, shape (n_nodes, 3).
        cameras: All registrations.
        seams: Row pairs of ``cameras`` that are the same photo in two components, shape (S, 2).
        gps_rows: Rows of ``cameras`` that are held by GPS, shape (G,).
        gps: Their positions, metres, NaN height where unknown, shape (G, 3).
        gps_weight: Weights that account for GPS errors shared within a component, shape (G,).
    """

    n_nodes: int
    pivots: Floats
    cameras: Cameras
    seams: Ints
    gps_rows: Ints
    gps: Floats
    gps_weight: Floats


@dataclass(frozen=True)
class Alignment:
    """``aligned = scale * rotation @ (point - pivot) + pivot + shift``, by component.

    Attributes:
        scale: Shape (n_nodes,).
        rotation: n_nodes rotations.
        shift: Metres, shape (n_nodes, 3).
        pivots: Metres, shape (n_nodes, 3).
    """

    scale: Floats
    rotation: Rotation
    shift: Floats
    pivots: Floats

    def translation(self) -> Floats:
        """Give t of ``aligned = scale * rotation @ point + t``, metres, shape (n_nodes, 3)."""
        turned = self.scale[:, None] * self.rotation.apply(self.pivots)
        return np.asarray(self.pivots + self.shift - turned)

    def centers(self, cameras: Cameras, rows: Ints | slice = slice(None)) -> Floats:
        """Move camera centres, shape (N, 3)."""
        node = cameras.node[rows]
        local = cameras.center[rows] - self.pivots[node]
        moved = self.scale[node, None] * self.rotation[node].apply(local)
        return np.asarray(moved + self.pivots[node] + self.shift[node])

    def rotations(self, cameras: Cameras, rows: Ints | slice = slice(None)) -> Rotation:
        """Turn camera rotations (``cam_from_world``)."""
        return cameras.rotation[rows] * self.rotation[cameras.node[rows]].inv()


def gps_weights(node: Ints) -> Floats:
    """Weigh GPS rows so that a component's many positions do not count as independent ones."""
    counts = np.bincount(node) if len(node) else np.zeros(0)
    return np.asarray(1 / np.sqrt(np.maximum(1.0, counts[node] / _CORRELATED)))


def solve_pose_graph(graph: Graph, sigmas: Sigmas, *, max_rounds: int = 200) -> Alignment:
    """Find the similarities that make shared photos agree without leaving GPS.

    Args:
        graph: Components and what ties them.
        sigmas: Expected errors.
        max_rounds: Most steps of the solver, each of its two times.

    Returns:
        The alignment; a component that shares nothing stays where its georegistration put it.

    Raises:
        MappingError: A pose of the graph is not finite.
    """
    x = np.zeros(7 * graph.n_nodes)
    if not len(graph.seams):
        return _unpack(x, graph)
    for softer in _SOFTER:
        stage = replace(sigmas, seam_m=softer * sigmas.seam_m, seam_deg=softer * sigmas.seam_deg)
        x = solve_least_squares(
            partial(residuals, graph=graph, sigmas=stage),
            partial(residual_slopes, graph=graph, sigmas=stage),
            x,
            unit=np.tile(_UNIT, graph.n_nodes),
            max_rounds=max_rounds,
        )
    tied = np.isin(np.arange(graph.n_nodes), graph.cameras.node[graph.seams])
    return _unpack((x.reshape(-1, 7) * tied[:, None]).ravel(), graph)


def residuals(x: Floats, graph: Graph, sigmas: Sigmas) -> Floats:
    """Say by how much each tie is missed, in expected errors.

    Args:
        x: Log scale, rotation vector and shift of each component, shape (7 * n_nodes,).
        graph: Components and what ties them.
        sigmas: Expected errors.

    Returns:
        3 numbers a seam for its position, 3 for its rotation, 3 a GPS row, 1 a component for its
        scale and 2 for its up vector; the squares of seams and GPS sum to Cauchy losses.
    """
    found = _unpack(x, graph)
    off = cauchy(_gps_offs(found, graph, sigmas), _CAUCHY_GPS) * graph.gps_weight[:, None]
    level = found.rotation.apply([0.0, 0.0, 1.0])[:, :2] / np.radians(sigmas.up_deg)
    return np.concatenate(
        [
            cauchy(_gaps(found, graph, sigmas), _CAUCHY_SEAM).ravel(),
            cauchy(_twists(found, graph, sigmas), _CAUCHY_SEAM).ravel(),
            off.ravel(),
            np.log(found.scale) / sigmas.log_scale,
            level.ravel(),
        ]
    )


def residual_slopes(x: Floats, graph: Graph, sigmas: Sigmas) -> csr_array:
    """Give the derivatives of ``residuals`` by the unknowns; arguments as there."""
    found = _unpack(x, graph)
    turns = turn_slopes(x.reshape(-1, 7)[:, 1:4])
    nodes = np.arange(graph.n_nodes)[:, None]
    scale = np.zeros((graph.n_nodes, 1, 1, 7))
    scale[..., 0] = 1 / sigmas.log_scale
    up = np.zeros((graph.n_nodes, 2, 1, 7))
    leaning = -cross_matrices(found.rotation.apply([0.0, 0.0, 1.0])) @ turns
    up[:, :, 0, 1:4] = leaning[:, :2] / np.radians(sigmas.up_deg)
    seam_nodes = graph.cameras.node[graph.seams]
    return sparse_rows(
        [
            (_gap_slopes(found, turns, graph, sigmas), seam_nodes),
            (_twist_slopes(found, turns, graph, sigmas), seam_nodes),
            (_gps_slopes(found, turns, graph, sigmas), graph.cameras.node[graph.gps_rows][:, None]),
            (scale, nodes),
            (up, nodes),
        ],
        graph.n_nodes,
    )


def _unpack(x: Floats, graph: Graph) -> Alignment:
    values = x.reshape(graph.n_nodes, 7)
    turn = Rotation.from_rotvec(values[:, 1:4])
    return Alignment(np.exp(values[:, 0]), turn, values[:, 4:7], graph.pivots)


def _gaps(found: Alignment, graph: Graph, sigmas: Sigmas) -> Floats:
    """Give the whitened distances of shared photos, shape (S, 3).

    In the models' own units: else the whole city shrinks, because that narrows every seam.
    """
    a, b = graph.seams.T
    gap = found.centers(graph.cameras, a) - found.centers(graph.cameras, b)
    return np.asarray(gap / _seam_units(found, graph, sigmas))


def _seam_units(found: Alignment, graph: Graph, sigmas: Sigmas) -> Floats:
    scales = found.scale[graph.cameras.node[graph.seams]]
    return np.asarray(sigmas.seam_m * np.sqrt(scales.prod(axis=1, keepdims=True)))


def _twists(found: Alignment, graph: Graph, sigmas: Sigmas) -> Floats:
    """Give the whitened rotation vectors between shared photos, shape (S, 3)."""
    a, b = graph.seams.T
    turned = found.rotations(graph.cameras, a) * found.rotations(graph.cameras, b).inv()
    return np.asarray(np.degrees(turned.as_rotvec()) / sigmas.seam_deg)


def _gps_offs(found: Alignment, graph: Graph, sigmas: Sigmas) -> Floats:
    """Give the whitened distances from GPS, 0 where that is unknown, shape (G, 3)."""
    off = found.centers(graph.cameras, graph.gps_rows) - graph.gps
    return np.nan_to_num(off / (sigmas.gps_m, sigmas.gps_m, sigmas.gps_up_m))


def _center_slopes(found: Alignment, turns: Floats, cameras: Cameras, rows: Ints) -> Floats:
    """Give the derivatives of moved centres by their own node's numbers, shape (N, 3, 7)."""
    node = cameras.node[rows]
    arm = found.centers(cameras, rows) - found.pivots[node] - found.shift[node]
    slopes = np.zeros((len(rows), 3, 7))
    slopes[:, :, 0] = arm
    slopes[:, :, 1:4] = -cross_matrices(arm) @ turns[node]
    slopes[:, :, 4:] = np.eye(3)
    return slopes


def _gap_slopes(found: Alignment, turns: Floats, graph: Graph, sigmas: Sigmas) -> Floats:
    """Give the derivatives of the seams' gaps by their two nodes, shape (S, 3, 2, 7)."""
    gap = _gaps(found, graph, sigmas)
    units = _seam_units(found, graph, sigmas)[:, :, None]
    slopes = np.empty((len(gap), 3, 2, 7))
    for side, sign in enumerate((1.0, -1.0)):
        moved = _center_slopes(found, turns, graph.cameras, graph.seams[:, side])
        slopes[:, :, side] = sign * moved / units
        slopes[:, :, side, 0] -= gap / 2
    return _apply(cauchy_slopes(gap, _CAUCHY_SEAM), slopes)


def _twist_slopes(found: Alignment, turns: Floats, graph: Graph, sigmas: Sigmas) -> Floats:
    """Give the derivatives of the seams' twists by their two nodes, shape (S, 3, 2, 7)."""
    a, b = graph.seams.T
    twist = _twists(found, graph, sigmas)
    unit = np.degrees(1.0) / sigmas.seam_deg
    turned = unit * rotvec_slopes(twist / unit) @ found.rotations(graph.cameras, a).as_matrix()
    slopes = np.zeros((len(twist), 3, 2, 7))
    slopes[:, :, 0, 1:4] = -turned @ turns[graph.cameras.node[a]]
    slopes[:, :, 1, 1:4] = turned @ turns[graph.cameras.node[b]]
    return _apply(cauchy_slopes(twist, _CAUCHY_SEAM), slopes)


def _gps_slopes(found: Alignment, turns: Floats, graph: Graph, sigmas: Sigmas) -> Floats:
    """Give the derivatives of the GPS residuals by their node, shape (G, 3, 1, 7)."""
    off = _gps_offs(found, graph, sigmas)
    slopes = _center_slopes(found, turns, graph.cameras, graph.gps_rows)
    slopes /= np.array([sigmas.gps_m, sigmas.gps_m, sigmas.gps_up_m])[:, None]
    slopes[~np.isfinite(graph.gps)] = 0.0
    weights = cauchy_slopes(off, _CAUCHY_GPS) * graph.gps_weight[:, None, None]
    return _apply(weights, slopes[:, :, None])


def _apply(outer: Floats, inner: Floats) -> Floats:
    """Chain derivatives (N, 3, 3) and (N, 3, K, 7)."""
    flat = outer @ inner.reshape(len(inner), 3, inner.shape[2] * 7)
    return np.asarray(flat.reshape(inner.shape))
