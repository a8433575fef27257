"""One similarity per component, so that shared photos agree and GPS is kept.

Unknowns are seven numbers a component: log scale, rotation vector, shift; and what the photos of a
drive share (``drives``). Seams measured in metres
would shrink the models (the fewer metres, the smaller the seams): they are measured in the models'
own units, and every log scale is held near its georegistered value.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.drives import lean, lean_slopes, raised_axes
from citysplat_core.mapping.graph import (
    Alignment,
    Cameras,
    Floats,
    Graph,
    Ints,
    Sigmas,
    Turns,
    seam_weights,
)
from citysplat_core.mapping.least_squares import solve_least_squares
from citysplat_core.mapping.slopes import (
    cauchy,
    cauchy_slopes,
    cross_matrices,
    rotvec_slopes,
    sparse_rows,
    turn_slopes,
)

_CAUCHY_SEAM = 3.0
_CAUCHY_GPS = 2.0
_CAUCHY_LEAN = 2.0
_CAUCHY_NEAR = 2.0
_CAUCHY_TURN = 2.0
_SOFTER = (20.0, 1.0)
"""Seams are some metres wide at first: a soft round keeps true ones from looking like outliers."""
_UNIT = (1e-2, 1e-2, 1e-2, 1e-2, 1.0, 1.0, 1.0)


def solve_pose_graph(graph: Graph, sigmas: Sigmas, *, max_rounds: int = 200) -> Alignment:
    """Find the similarities that make shared photos agree without leaving GPS.

    Args:
        graph: Components and what ties them.
        sigmas: Expected errors.
        max_rounds: Most steps of the solver, each of its two times.

    Returns:
        The alignment; a component that shares no photo, and of whose drives nothing is known, stays
        where its georegistration put it.

    Raises:
        MappingError: A pose of the graph is not finite.
    """
    x = np.zeros((graph.n_nodes + graph.cameras.n_drives, 7))
    x[graph.n_nodes :, :2] = graph.mounts
    tied = (graph.cameras.node[graph.seams], graph.nearness.nodes, graph.turns.nodes)
    held = np.concatenate([*(nodes.ravel() for nodes in tied), _driven(graph)])
    free = np.isin(np.arange(graph.n_nodes), held)
    if not free.any():
        return _unpack(x.ravel(), graph)
    for softer in _SOFTER:
        stage = replace(sigmas, seam_m=softer * sigmas.seam_m, seam_deg=softer * sigmas.seam_deg)
        solved = solve_least_squares(
            partial(residuals, graph=graph, sigmas=stage),
            partial(residual_slopes, graph=graph, sigmas=stage),
            x.ravel(),
            unit=np.tile(_UNIT, len(x)),
            max_rounds=max_rounds,
        )
        x = solved.reshape(-1, 7)
    x[: graph.n_nodes][~free] = 0.0
    return _unpack(x.ravel(), graph)


def _driven(graph: Graph) -> Ints:
    """Give the components with positions of known drives."""
    rows = graph.gps_rows[graph.cameras.drives[graph.gps_rows] >= 0]
    return np.asarray(graph.cameras.node[rows])


def residuals(x: Floats, graph: Graph, sigmas: Sigmas) -> Floats:
    """Say by how much each tie is missed, in expected errors.

    Args:
        x: Log scale, rotation vector and shift of each component, then the block of each drive,
            shape (7 * (n_nodes + n_drives),).
        graph: Components and what ties them.
        sigmas: Expected errors.

    Returns:
        3 numbers a seam for its position, 3 for its rotation, 3 a turn, 3 a nearness, 3 a GPS row,
        1 a component for its scale and 2 for its up vector, 3 a GPS row of a known drive for how
        its camera leans, 7 a drive; the squares of ties, GPS and leans sum to Cauchy losses.
    """
    found = _unpack(x, graph)
    off = cauchy(_gps_offs(x, found, graph, sigmas), _CAUCHY_GPS) * graph.gps_weight[:, None]
    level = found.rotation.apply([0.0, 0.0, 1.0])[:, :2] / np.radians(sigmas.up_deg)
    seam_weight = seam_weights(graph.cameras.node[graph.seams])[:, None]
    return np.concatenate(
        [
            (seam_weight * cauchy(_gaps(found, graph, sigmas), _CAUCHY_SEAM)).ravel(),
            _twisted(found, _seen(graph), sigmas.seam_deg, _CAUCHY_SEAM).ravel(),
            _twisted(found, graph.turns, sigmas.turn_deg, _CAUCHY_TURN).ravel(),
            (_near_weights(graph)[:, None] * cauchy(_steps(found, graph), _CAUCHY_NEAR)).ravel(),
            off.ravel(),
            np.log(found.scale) / sigmas.log_scale,
            level.ravel(),
            _leans(x, found, graph, sigmas).ravel(),
            ((_blocks(x, graph) - _usual(graph)) / _drive_sigmas(sigmas)).ravel(),
        ]
    )


def residual_slopes(x: Floats, graph: Graph, sigmas: Sigmas) -> csr_array:
    """Give the derivatives of ``residuals`` by the unknowns; arguments as there."""
    found = _unpack(x, graph)
    turns = turn_slopes(x.reshape(-1, 7)[: graph.n_nodes, 1:4])
    nodes = np.arange(graph.n_nodes)[:, None]
    scale = np.zeros((graph.n_nodes, 1, 1, 7))
    scale[..., 0] = 1 / sigmas.log_scale
    up = np.zeros((graph.n_nodes, 2, 1, 7))
    leaning = -cross_matrices(found.rotation.apply([0.0, 0.0, 1.0])) @ turns
    up[:, :, 0, 1:4] = leaning[:, :2] / np.radians(sigmas.up_deg)
    seam_nodes = graph.cameras.node[graph.seams]
    weight = seam_weights(seam_nodes)[:, None, None, None]
    n_drives = graph.cameras.n_drives
    mounts = np.broadcast_to(np.diag(1 / _drive_sigmas(sigmas))[:, None], (n_drives, 7, 1, 7))
    rows = _lean_rows(graph)
    return sparse_rows(
        [
            (weight * _gap_slopes(found, turns, graph, sigmas), seam_nodes),
            (
                _twist_slopes(found, turns, _seen(graph), sigmas.seam_deg, _CAUCHY_SEAM),
                seam_nodes,
            ),
            (
                _twist_slopes(found, turns, graph.turns, sigmas.turn_deg, _CAUCHY_TURN),
                graph.turns.nodes,
            ),
            (_step_slopes(found, turns, graph), graph.nearness.nodes),
            (_gps_slopes(x, found, turns, graph, sigmas), _with_drives(graph, graph.gps_rows)),
            (scale, nodes),
            (up, nodes),
            (_lean_slopes(x, found, turns, graph, sigmas), _with_drives(graph, rows)),
            (mounts, graph.n_nodes + np.arange(n_drives)[:, None]),
        ],
        graph.n_nodes + n_drives,
    )


def _unpack(x: Floats, graph: Graph) -> Alignment:
    values = x.reshape(-1, 7)[: graph.n_nodes]
    turn = Rotation.from_rotvec(values[:, 1:4])
    return Alignment(np.exp(values[:, 0]), turn, values[:, 4:7], graph.pivots)


def _blocks(x: Floats, graph: Graph) -> Floats:
    """Give the numbers of the drives, shape (n_drives, 7)."""
    return x.reshape(-1, 7)[graph.n_nodes :]


def _usual(graph: Graph) -> Floats:
    expected = np.zeros((graph.cameras.n_drives, 7))
    expected[:, :2] = graph.mounts
    return expected


def _drive_sigmas(sigmas: Sigmas) -> Floats:
    mount = np.radians([sigmas.roll_deg, sigmas.pitch_deg])
    return np.array([*mount, 1.0, 1.0, sigmas.shared_m, sigmas.shared_m, sigmas.shared_up_m])


def _with_drives(graph: Graph, rows: Ints) -> Ints:
    """Give component and drive block of rows, shape (N, 2); without a drive the component twice."""
    node, drive = graph.cameras.node[rows], graph.cameras.drives[rows]
    return np.stack([node, np.where(drive >= 0, graph.n_nodes + drive, node)], axis=1)


def _lean_rows(graph: Graph) -> Ints:
    return np.asarray(graph.gps_rows[graph.cameras.drives[graph.gps_rows] >= 0])


def _lean_weight(graph: Graph) -> Floats:
    known = graph.cameras.drives[graph.gps_rows] >= 0
    return np.asarray(graph.gps_weight[known])


def _axes(found: Alignment, graph: Graph) -> tuple[Floats, Floats]:
    rows = _lean_rows(graph)
    return raised_axes(found.rotation[graph.cameras.node[rows]], graph.cameras.rotation[rows])


def _raw_leans(x: Floats, found: Alignment, graph: Graph, sigmas: Sigmas) -> Floats:
    if not len(rows := _lean_rows(graph)):
        return np.zeros((0, 3))
    mounts = _blocks(x, graph)[graph.cameras.drives[rows]]
    return lean(*_axes(found, graph), mounts, sigmas.shake_deg)


def _leans(x: Floats, found: Alignment, graph: Graph, sigmas: Sigmas) -> Floats:
    off = cauchy(_raw_leans(x, found, graph, sigmas), _CAUCHY_LEAN)
    return np.asarray(off * _lean_weight(graph)[:, None])


def _lean_slopes(
    x: Floats, found: Alignment, turns: Floats, graph: Graph, sigmas: Sigmas
) -> Floats:
    rows = _lean_rows(graph)
    if not len(rows):
        return np.zeros((0, 3, 2, 7))
    slopes = lean_slopes(*_axes(found, graph), turns[graph.cameras.node[rows]], sigmas.shake_deg)
    outer = cauchy_slopes(_raw_leans(x, found, graph, sigmas), _CAUCHY_LEAN)
    return _apply(outer * _lean_weight(graph)[:, None, None], slopes)


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


def _seen(graph: Graph) -> Turns:
    """Give what both components of each seam say of the photo's direction of view."""
    a, b = graph.seams.T
    cameras = graph.cameras
    return Turns(cameras.node[graph.seams], cameras.rotation[a], cameras.rotation[b])


def _twists(found: Alignment, told: Turns, sigma_deg: float) -> Floats:
    """Give the whitened rotation vectors between what two components say, shape (K, 3)."""
    if not len(told.nodes):
        return np.zeros((0, 3))
    first = told.first * found.rotation[told.nodes[:, 0]].inv()
    second = told.second * found.rotation[told.nodes[:, 1]].inv()
    return np.asarray(np.degrees((first * second.inv()).as_rotvec()) / sigma_deg)


def _twisted(found: Alignment, told: Turns, sigma_deg: float, scale: float) -> Floats:
    """Give the same, weighed, with a Cauchy loss of this scale."""
    twist = cauchy(_twists(found, told, sigma_deg), scale)
    return np.asarray(seam_weights(told.nodes)[:, None] * twist)


def _gps_offs(x: Floats, found: Alignment, graph: Graph, sigmas: Sigmas) -> Floats:
    """Give the whitened distances from GPS less its bias, 0 where it is unknown, shape (G, 3)."""
    rows = graph.gps_rows
    off = found.centers(graph.cameras, rows) - graph.gps
    drive = graph.cameras.drives[rows]
    known = drive >= 0
    off[known] += _blocks(x, graph)[drive[known], 4:]
    return np.nan_to_num(off / (sigmas.gps_m, sigmas.gps_m, sigmas.gps_up_m))


def _center_slopes(found: Alignment, turns: Floats, cameras: Cameras, rows: Ints) -> Floats:
    return _place_slopes(found, turns, cameras.center[rows], cameras.node[rows])


def _place_slopes(found: Alignment, turns: Floats, places: Floats, node: Ints) -> Floats:
    """Give the derivatives of moved places by their own node's numbers, shape (N, 3, 7)."""
    arm = found.move(places, node) - found.pivots[node] - found.shift[node]
    slopes = np.zeros((len(node), 3, 7))
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


def _twist_slopes(
    found: Alignment, turns: Floats, told: Turns, sigma_deg: float, scale: float
) -> Floats:
    """Give the derivatives of ``_twisted`` by its two nodes, shape (K, 3, 2, 7)."""
    nodes = told.nodes
    slopes = np.zeros((len(nodes), 3, 2, 7))
    if not len(nodes):
        return slopes
    twist = _twists(found, told, sigma_deg)
    unit = np.degrees(1.0) / sigma_deg
    first = (told.first * found.rotation[nodes[:, 0]].inv()).as_matrix()
    turned = unit * rotvec_slopes(twist / unit) @ first
    slopes[:, :, 0, 1:4] = -turned @ turns[nodes[:, 0]]
    slopes[:, :, 1, 1:4] = turned @ turns[nodes[:, 1]]
    outer = cauchy_slopes(twist, scale) * seam_weights(nodes)[:, None, None]
    return _apply(outer, slopes)


def _near_weights(graph: Graph) -> Floats:
    return seam_weights(graph.nearness.nodes)


def _steps(found: Alignment, graph: Graph) -> Floats:
    """Give the whitened distances of what should be near, shape (K, 3)."""
    near = graph.nearness
    first, second = (found.move(near.places[:, side], near.nodes[:, side]) for side in (0, 1))
    return np.asarray((first - second) / near.sigma_m)


def _step_slopes(found: Alignment, turns: Floats, graph: Graph) -> Floats:
    """Give the derivatives of these distances by their two nodes, shape (K, 3, 2, 7)."""
    near = graph.nearness
    slopes = np.empty((len(near.nodes), 3, 2, 7))
    for side, sign in enumerate((1.0, -1.0)):
        moved = _place_slopes(found, turns, near.places[:, side], near.nodes[:, side])
        slopes[:, :, side] = sign * moved / near.sigma_m[:, :, None]
    weights = (
        cauchy_slopes(_steps(found, graph), _CAUCHY_NEAR) * _near_weights(graph)[:, None, None]
    )
    return _apply(weights, slopes)


def _gps_slopes(x: Floats, found: Alignment, turns: Floats, graph: Graph, sigmas: Sigmas) -> Floats:
    """Give the derivatives of the GPS residuals by component and drive, shape (G, 3, 2, 7)."""
    off = _gps_offs(x, found, graph, sigmas)
    slopes = np.zeros((len(off), 3, 2, 7))
    slopes[:, :, 0] = _center_slopes(found, turns, graph.cameras, graph.gps_rows)
    slopes[graph.cameras.drives[graph.gps_rows] >= 0, :, 1, 4:] = np.eye(3)
    slopes /= np.array([sigmas.gps_m, sigmas.gps_m, sigmas.gps_up_m])[:, None, None]
    slopes[~np.isfinite(graph.gps)] = 0.0
    weights = cauchy_slopes(off, _CAUCHY_GPS) * graph.gps_weight[:, None, None]
    return _apply(weights, slopes)


def _apply(outer: Floats, inner: Floats) -> Floats:
    """Chain derivatives (N, 3, 3) and (N, 3, K, 7)."""
    flat = outer @ inner.reshape(len(inner), 3, inner.shape[2] * 7)
    return np.asarray(flat.reshape(inner.shape))
