from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.graph import Cameras, Graph, Nearness, Sigmas, gps_weights
from citysplat_core.mapping.nearness import find_nearness
from citysplat_core.mapping.pose_graph import residual_slopes, residuals, solve_pose_graph


def cameras_at(*centers, node) -> Cameras:
    every = np.concatenate(centers)
    return Cameras(node=np.asarray(node), center=every, rotation=Rotation.identity(len(every)))


def order_of(n, *, drive=-1, place=-1, time_s=np.nan) -> pd.DataFrame:
    return pd.DataFrame({"drive": drive, "place": place, "time_s": time_s}, index=range(n))


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
        nearness=find_nearness(cameras, order_of(60), ground_m=1.5),
    )


def step_m(graph, found) -> float:
    up = found.centers(graph.cameras)[:, 2]
    return float(np.median(up[30:]) - np.median(up[:30]))


def test_streets_that_cross_lie_at_one_height():
    graph = crossing(np.random.default_rng(1), off_m=6.0)
    assert step_m(graph, solve_pose_graph(graph, Sigmas())) == pytest.approx(0.0, abs=1.5)
    untied = replace(graph, nearness=Nearness.join([]))
    assert step_m(untied, solve_pose_graph(untied, Sigmas())) > 5.0


def test_a_bridge_stays_above():
    graph = crossing(np.random.default_rng(2), off_m=40.0)
    assert step_m(graph, solve_pose_graph(graph, Sigmas(gps_up_m=3.0))) > 35.0


def test_ties_join_cameras_beside_each_other_in_two_components():
    line = np.stack([np.arange(0, 400, 4.0), np.zeros(100), np.zeros(100)], axis=1)
    node = np.repeat([1, 0, 2], 100)
    cameras = cameras_at(line, np.add(line, (0, 6, 0)), np.add(line, (0, 60, 0)), node=node)
    ties = find_nearness(cameras, order_of(300), ground_m=1.5)
    assert 8 <= len(ties.nodes) <= 24
    assert (np.sort(ties.nodes, axis=1) == (0, 1)).all()
    assert np.linalg.norm((ties.places[:, 0] - ties.places[:, 1])[:, :2], axis=1).max() <= 12
    assert np.ptp(ties.places[:, 0, 0]) > 300
    assert (ties.sigma_m == (np.inf, np.inf, 1.5)).all()


def test_one_component_has_no_ties():
    line = np.stack([np.arange(0, 40, 4.0), np.zeros(10), np.zeros(10)], axis=1)
    cameras = cameras_at(line, node=np.zeros(10, int))
    order = order_of(10, drive=0, place=np.arange(10), time_s=np.arange(10.0))
    assert not len(find_nearness(cameras, order, ground_m=1.5).nodes)


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


def drive_in_two(*, off=(0.0, 0.0, 0.0), gap=1, shared=0):
    """A drive of 12 photos, 2 s and 6 m each, the second half in a component of its own."""
    at = 6.0 * np.arange(12)
    line = np.stack([at, np.zeros(12), np.zeros(12)], axis=1)
    first, second = np.arange(6), np.arange(5 + gap - shared, 12)
    node = np.repeat([0, 1], [len(first), len(second)])
    cameras = cameras_at(line[first], line[second] + off, node=node)
    place = np.concatenate([first, second])
    return cameras, order_of(len(place), drive=0, place=place, time_s=2.0 * place)


def followed(cameras, order):
    ties = find_nearness(cameras, order, ground_m=1.5)
    told = np.isfinite(ties.sigma_m[:, 0])
    return Nearness(ties.nodes[told], ties.places[told], ties.sigma_m[told])


@pytest.mark.parametrize("gap", [1, 2])
def test_a_drive_goes_on_as_it_went(gap):
    ties = followed(*drive_in_two(off=(0.0, 4.0, 1.0), gap=gap))
    steps = ties.places[:, 0] - ties.places[:, 1]
    there, back = ties.nodes[:, 0] == 0, ties.nodes[:, 0] == 1
    assert there.sum() == back.sum()
    assert there.any()
    assert steps[there] == pytest.approx(np.tile([0.0, -4.0, -1.0], (there.sum(), 1)))
    assert steps[back] == pytest.approx(np.tile([0.0, 4.0, 1.0], (back.sum(), 1)))
    nearest = ties.sigma_m[there].min(axis=0)
    assert nearest == pytest.approx([0.5 + 0.35 * 6 * gap] * 2 + [0.5 + 0.1 * 6 * gap])


def test_a_longer_gap_tells_nothing():
    assert not len(followed(*drive_in_two(gap=3)).nodes)


def test_a_shared_photo_ties_better_than_the_step_over_it():
    ties = followed(*drive_in_two(shared=1))
    assert (ties.sigma_m[:, 0] > 0.5 + 0.35 * 6).all()  # only the two steps past it are told
    assert len(ties.nodes) == 2


def test_a_drive_without_times_tells_nothing():
    cameras, order = drive_in_two()
    assert not len(followed(cameras, order.assign(time_s=np.nan)).nodes)
    assert not len(followed(cameras, order.assign(place=-1)).nodes)


def test_a_component_that_gps_puts_aside_comes_back_to_its_drive():
    cameras, order = drive_in_two(off=(0.0, 4.0, 0.0))
    rng = np.random.default_rng(5)
    graph = Graph(
        n_nodes=2,
        pivots=np.array([cameras.center[cameras.node == k].mean(axis=0) for k in (0, 1)]),
        cameras=cameras,
        seams=np.zeros((0, 2), np.int64),
        gps_rows=np.arange(12),
        gps=cameras.center + rng.normal(0, 1.0, (12, 3)),
        gps_weight=gps_weights(cameras.node),
        nearness=find_nearness(cameras, order, ground_m=1.5),
    )
    found = solve_pose_graph(graph, Sigmas()).centers(cameras)
    assert abs(found[5, 1] - found[6, 1]) < 2.5
