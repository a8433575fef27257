"""One similarity per component, so that shared photos agree and GPS is kept.

Unknowns are seven numbers a component: log scale, rotation vector, shift. Seams measured in metres
would shrink the models (the fewer metres, the smaller the seams): they are measured in the models'
own units, and every log scale is held near its georegistered value.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.sparse import csr_array
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CAUCHY_SEAM = 3.0
_CAUCHY_GPS = 1.0
_CORRELATED = 100.0
"""More positions than this count as this many. Few made GPS so weak that one bent model's seams
scaled whole streets of the demo town by a fifth."""
_SOFTER = (20.0, 1.0)
"""Seams are some metres wide at first: a soft round keeps true ones from looking like outliers."""
_X_SCALE = (1e-2, 1e-2, 1e-2, 1e-2, 1.0, 1.0, 1.0)


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


def solve_pose_graph(graph: Graph, sigmas: Sigmas, *, max_rounds: int = 60) -> Alignment:
    """Find the similarities that make shared photos agree without leaving GPS.

    Args:
        graph: Components and what ties them.
        sigmas: Expected errors.
        max_rounds: Most evaluations of the solver.

    Returns:
        The alignment; a component that shares nothing stays where its georegistration put it.
    """
    x = np.zeros(7 * graph.n_nodes)
    if not len(graph.seams):
        return _unpack(x, graph)
    pattern = _sparsity(graph)
    for softer in _SOFTER:
        stage = replace(sigmas, seam_m=softer * sigmas.seam_m, seam_deg=softer * sigmas.seam_deg)
        x = least_squares(
            _objective,
            x,
            args=(graph, stage),
            jac_sparsity=pattern,
            x_scale=np.tile(_X_SCALE, graph.n_nodes),
            method="trf",
            max_nfev=max_rounds,
        ).x
    tied = np.isin(np.arange(graph.n_nodes), graph.cameras.node[graph.seams])
    return _unpack((x.reshape(-1, 7) * tied[:, None]).ravel(), graph)


def _objective(x: Floats, graph: Graph, sigmas: Sigmas) -> Floats:
    return _residuals(_unpack(x, graph), graph, sigmas)


def _unpack(x: Floats, graph: Graph) -> Alignment:
    values = x.reshape(graph.n_nodes, 7)
    turn = Rotation.from_rotvec(values[:, 1:4])
    return Alignment(np.exp(values[:, 0]), turn, values[:, 4:7], graph.pivots)


def _residuals(found: Alignment, graph: Graph, sigmas: Sigmas) -> Floats:
    """Stack whitened residuals: seams (3 + 3), GPS (3), scale (1), up (2)."""
    a, b = graph.seams[:, 0], graph.seams[:, 1]
    cameras = graph.cameras
    gap = (found.centers(cameras, a) - found.centers(cameras, b)) / sigmas.seam_m
    # In the models' own units: else the whole city shrinks, because that narrows every seam.
    gap /= np.sqrt(found.scale[cameras.node[a]] * found.scale[cameras.node[b]])[:, None]
    turned = found.rotations(cameras, a) * found.rotations(cameras, b).inv()
    twist = np.degrees(turned.as_rotvec()) / sigmas.seam_deg
    off = found.centers(cameras, graph.gps_rows) - graph.gps
    off = np.nan_to_num(off / (sigmas.gps_m, sigmas.gps_m, sigmas.gps_up_m))
    off = _cauchy(off, _CAUCHY_GPS) * graph.gps_weight[:, None]
    level = found.rotation.apply([0.0, 0.0, 1.0])[:, :2] / np.radians(sigmas.up_deg)
    return np.concatenate(
        [
            _cauchy(gap, _CAUCHY_SEAM).ravel(),
            _cauchy(twist, _CAUCHY_SEAM).ravel(),
            off.ravel(),
            np.log(found.scale) / sigmas.log_scale,
            level.ravel(),
        ]
    )


def _cauchy(whitened: Floats, reach: float) -> Floats:
    """Scale rows so that their squares sum to a Cauchy loss."""
    length = np.linalg.norm(whitened, axis=1, keepdims=True)
    safe = np.maximum(length, 1e-12)
    return np.asarray(whitened * (reach * np.sqrt(np.log1p((safe / reach) ** 2)) / safe))


def _sparsity(graph: Graph) -> Any:  # noqa: ANN401 - scipy's sparse types differ between versions
    seam_nodes = graph.cameras.node[graph.seams]
    n = graph.n_nodes
    owner = [
        np.repeat(seam_nodes, 3, axis=0),
        np.repeat(seam_nodes, 3, axis=0),
        np.repeat(graph.cameras.node[graph.gps_rows], 3)[:, None].repeat(2, axis=1),
        np.arange(n)[:, None].repeat(2, axis=1),
        np.repeat(np.arange(n), 2)[:, None].repeat(2, axis=1),
    ]
    nodes = np.concatenate(owner)
    rows = np.repeat(np.arange(len(nodes)), 14)
    columns = (nodes[:, :, None] * 7 + np.arange(7)).reshape(-1)
    pattern = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(nodes), 7 * n))
    return pattern.tocsr()
