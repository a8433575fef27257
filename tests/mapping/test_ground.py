from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.graph import Cameras, Graph, Sigmas, gps_weights
from citysplat_core.mapping.ground import find_ground_ties
from citysplat_core.mapping.pose_graph import residual_slopes, residuals, solve_pose_graph


def cameras_at(*centers, node) -> Cameras:
    every = np.concatenate(centers)
    return Cameras(node=np.asarray(node), center=every, rotation=Rotation.identity(len(every)))


def crossing(rng, *, off_m) -> Graph:
    """Two streets that cross without a shared photo; GPS puts the second one too high."""
    along = np.linspace(-40, 40, 30)
    zero = np.zeros(30)
    streets = [np.stack([along, zero, zero + 2], 1), np.stack([zero + 1, along, zero + 2.3], 1)]
    high = streets[1] + (0, 0, off_m)
    gps = np.concatenate([streets[0], high]) + rng.normal(0, 1.0, (60, 3))
    node = np.repeat([0, 1], 30)
    cameras = cameras_at(streets[0], high, node=node)
    return Graph(
        n_nodes=2,
        pivots=np.array([streets[0].mean(axis=0), high.mean(axis=0)]),
        cameras=cameras,
        seams=np.zeros((0, 2), np.int64),
        gps_rows=np.arange(60),
        gps=gps,
        gps_weight=gps_weights(node),
        ground=find_ground_ties(cameras),
    )


def step_m(graph, found) -> float:
    up = found.centers(graph.cameras)[:, 2]
    return float(np.median(up[30:]) - np.median(up[:30]))


def test_streets_that_cross_lie_at_one_height():
    graph = crossing(np.random.default_rng(1), off_m=6.0)
    assert step_m(graph, solve_pose_graph(graph, Sigmas())) == pytest.approx(0.0, abs=1.5)
    untied = replace(graph, ground=np.zeros((0, 2), np.int64))
    assert step_m(untied, solve_pose_graph(untied, Sigmas())) > 5.0


def test_a_bridge_stays_above():
    graph = crossing(np.random.default_rng(2), off_m=40.0)
    assert step_m(graph, solve_pose_graph(graph, Sigmas(gps_up_m=3.0))) > 35.0


def test_ties_join_cameras_beside_each_other_in_two_components():
    line = np.stack([np.arange(0, 400, 4.0), np.zeros(100), np.zeros(100)], axis=1)
    node = np.repeat([1, 0, 2], 100)
    cameras = cameras_at(line, np.add(line, (0, 6, 0)), np.add(line, (0, 60, 0)), node=node)
    ties = find_ground_ties(cameras)
    assert 8 <= len(ties) <= 24
    assert (cameras.node[ties] == (0, 1)).all()
    off = cameras.center[ties[:, 0], :2] - cameras.center[ties[:, 1], :2]
    assert np.linalg.norm(off, axis=1).max() <= 12
    assert np.ptp(cameras.center[ties[:, 0], 0]) > 300


def test_one_component_has_no_ties():
    line = np.stack([np.arange(0, 40, 4.0), np.zeros(10), np.zeros(10)], axis=1)
    assert find_ground_ties(cameras_at(line, node=np.zeros(10, int))).shape == (0, 2)


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_the_slopes_are_those_of_finite_differences(spread):
    rng = np.random.default_rng(3)
    graph = crossing(rng, off_m=3.0)
    x = spread * rng.normal(size=14) * np.tile([0.3, 1, 1, 1, 10, 10, 10], 2)
    step = 1e-6
    columns = [
        (residuals(x + d, graph, Sigmas()) - residuals(x - d, graph, Sigmas())) / (2 * step)
        for d in step * np.eye(14)
    ]
    expected = np.column_stack(columns)
    wrong = np.abs(residual_slopes(x, graph, Sigmas()).toarray() - expected)
    assert (wrong.max(axis=1) <= 1e-5 * np.abs(expected).max(axis=1) + 1e-9).all()
