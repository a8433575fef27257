from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.drives import usual_mounts
from citysplat_core.mapping.graph import Cameras, Graph, Sigmas, Turns, gps_weights
from citysplat_core.mapping.pose_graph import residual_slopes, residuals, solve_pose_graph


def two_strips(rng, *, shift=(2.0, -1.0, 0.5), turn_deg=1.5, scale=1.03, n_shared=8) -> Graph:
    """One street in two components; the second is moved, turned and scaled."""
    true = np.column_stack([np.arange(40) * 3.0, np.zeros(40), np.full(40, 2.0)])
    turns = Rotation.from_euler("z", rng.normal(0, 2, (40, 1)), degrees=True)
    first, second = np.arange(24), np.arange(24 - n_shared, 40)
    error = Rotation.from_euler("z", turn_deg, degrees=True)
    pivot = true[second].mean(axis=0)
    moved = scale * error.apply(true[second] - pivot) + pivot + shift
    center = np.concatenate([true[first], moved])
    rotation = Rotation.concatenate([turns[first], turns[second] * error.inv()])
    node = np.repeat([0, 1], [len(first), len(second)])
    seams = np.column_stack([np.arange(24 - n_shared, 24), 24 + np.arange(n_shared)])
    gps = np.concatenate([true[first], true[second]]) + rng.normal(0, 2, (len(node), 3))
    pivots = np.array([center[node == k].mean(axis=0) for k in (0, 1)])
    return Graph(
        n_nodes=2,
        pivots=pivots,
        cameras=Cameras(node=node, center=center, rotation=rotation),
        seams=seams,
        gps_rows=np.arange(len(node)),
        gps=gps,
        gps_weight=gps_weights(node),
    )


def turned_apart(graph) -> Graph:
    """Forget which photos are shared; of each, say only how it is turned by both components."""
    a, b = graph.seams.T
    rotation = graph.cameras.rotation
    turns = Turns(graph.cameras.node[graph.seams], rotation[a], rotation[b])
    return replace(graph, seams=np.zeros((0, 2), np.int64), turns=turns)


def gaps_m(graph, alignment):
    center = alignment.centers(graph.cameras)
    return np.linalg.norm(center[graph.seams[:, 0]] - center[graph.seams[:, 1]], axis=1)


def test_shared_photos_meet_and_the_street_keeps_its_size():
    graph = two_strips(np.random.default_rng(0))
    found = solve_pose_graph(graph, Sigmas())
    assert gaps_m(graph, found).max() < 0.05
    center = found.centers(graph.cameras)
    assert np.linalg.norm(center[0] - center[-1]) == pytest.approx(117, rel=0.05)


def test_without_the_scale_prior_the_model_would_shrink():
    graph = two_strips(np.random.default_rng(0))
    far = replace(
        graph, gps_rows=np.zeros(0, np.int64), gps=np.zeros((0, 3)), gps_weight=np.ones(0)
    )
    held = solve_pose_graph(far, Sigmas(log_scale=0.03))
    free = solve_pose_graph(far, Sigmas(log_scale=1e6))
    assert held.scale.min() > 0.95
    assert abs(np.log(free.scale)).sum() > abs(np.log(held.scale)).sum()


def test_a_wrong_shared_photo_does_not_pull():
    graph = two_strips(np.random.default_rng(1), n_shared=10)
    graph.cameras.center[graph.seams[3, 1]] += (40, 10, 0)
    found = solve_pose_graph(graph, Sigmas())
    assert np.median(gaps_m(graph, found)) < 0.1


def test_unknown_heights_are_no_pull():
    graph = two_strips(np.random.default_rng(2))
    graph.gps[:, 2] = np.nan
    found = solve_pose_graph(graph, Sigmas())
    assert np.isfinite(found.centers(graph.cameras)).all()
    assert gaps_m(graph, found).max() < 0.05


def test_nothing_shared_moves_nothing():
    graph = replace(two_strips(np.random.default_rng(3)), seams=np.zeros((0, 2), np.int64))
    found = solve_pose_graph(graph, Sigmas())
    assert found.centers(graph.cameras) == pytest.approx(graph.cameras.center)


def test_the_translation_is_that_of_the_pivoted_form():
    graph = two_strips(np.random.default_rng(4))
    found = solve_pose_graph(graph, Sigmas())
    node = graph.cameras.node
    plain = found.scale[node, None] * found.rotation[node].apply(graph.cameras.center)
    assert plain + found.translation()[node] == pytest.approx(found.centers(graph.cameras))


def test_a_component_without_shared_photos_stays_beside_others_that_move():
    graph = two_strips(np.random.default_rng(5))
    cameras = Cameras(
        node=np.append(graph.cameras.node, [2, 2, 2]),
        center=np.vstack([graph.cameras.center, [[0, 50, 2], [5, 50, 2], [9, 52, 2]]]),
        rotation=Rotation.concatenate([graph.cameras.rotation, Rotation.identity(3)]),
    )
    rows = len(graph.gps) + np.arange(3)
    lone = replace(
        graph,
        n_nodes=3,
        pivots=np.vstack([graph.pivots, cameras.center[rows].mean(axis=0)]),
        cameras=cameras,
        gps_rows=np.append(graph.gps_rows, rows),
        gps=np.vstack([graph.gps, cameras.center[rows] + 5]),
        gps_weight=np.append(graph.gps_weight, np.ones(3)),
    )
    found = solve_pose_graph(lone, Sigmas())
    assert found.centers(cameras)[rows] == pytest.approx(cameras.center[rows])
    assert gaps_m(lone, found).max() < 0.05


def test_many_seams_that_cannot_close_do_not_shrink_the_city():
    """Two models of one town, each bent its own way: no similarity makes all photos meet."""
    rng = np.random.default_rng(5)
    true = np.column_stack([rng.uniform(-50, 50, (150, 2)), np.full(150, 2.0)])
    bent = [true + rng.normal(0, 1.0, true.shape) for _ in range(2)]
    turns = Rotation.from_euler("z", rng.uniform(0, 360, (150, 1)), degrees=True)
    node = np.repeat([0, 1], 150)
    graph = Graph(
        n_nodes=2,
        pivots=np.array([b.mean(axis=0) for b in bent]),
        cameras=Cameras(
            node=node,
            center=np.concatenate(bent),
            rotation=Rotation.concatenate([turns, turns]),
        ),
        seams=np.column_stack([np.arange(150), 150 + np.arange(150)]),
        gps_rows=np.arange(300),
        gps=np.concatenate([true, true]) + rng.normal(0, 2, (300, 3)),
        gps_weight=gps_weights(node),
    )
    found = solve_pose_graph(graph, Sigmas())
    assert found.scale == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("spread", [0.0, 1e-3, 0.3])
def test_the_slopes_are_those_of_finite_differences(spread):
    rng = np.random.default_rng(7)
    graph = two_strips(rng)
    graph = replace(graph, turns=turned_apart(graph).turns)
    graph.gps[::5, 2] = np.nan
    graph.cameras.center[3] += (40, 10, 0)
    x = spread * rng.normal(size=14) * np.tile([0.3, 1, 1, 1, 10, 10, 10], 2)
    step = 1e-6
    columns = [
        (residuals(x + d, graph, Sigmas()) - residuals(x - d, graph, Sigmas())) / (2 * step)
        for d in step * np.eye(14)
    ]
    expected = np.column_stack(columns)
    wrong = np.abs(residual_slopes(x, graph, Sigmas()).toarray() - expected)
    assert (wrong.max(axis=1) <= 1e-5 * np.abs(expected).max(axis=1)).all()


def test_the_solution_is_the_lowest_nearby_and_always_the_same():
    graph = two_strips(np.random.default_rng(8))
    found = solve_pose_graph(graph, Sigmas())
    again = solve_pose_graph(graph, Sigmas())
    numbers = [np.log(found.scale)[:, None], found.rotation.as_rotvec(), found.shift]
    x = np.concatenate(numbers, axis=1).ravel()
    assert found.shift.tobytes() == again.shift.tobytes()
    left = residuals(x, graph, Sigmas())
    downhill = residual_slopes(x, graph, Sigmas()).T @ left
    assert np.abs(downhill).max() < 0.02 * np.sqrt(left @ left)
    for d in 1e-3 * np.vstack([np.eye(14), -np.eye(14)]):
        assert (residuals(x + d, graph, Sigmas()) ** 2).sum() > left @ left


def with_drives(graph, drive) -> Graph:
    cameras = replace(graph.cameras, drive=np.asarray(drive))
    mounts = usual_mounts(cameras.rotation, cameras.drives, cameras.n_drives)
    return replace(graph, cameras=cameras, mounts=mounts)


def crossing(rng, *, tilt_deg=(0.0, 0.0, 0.0), bias_m=2.0, roll_deg=1.5) -> Graph:
    """Two streets that cross, each driven there and back: one component, four drives."""
    along = np.linspace(-80, 80, 40)
    zero = np.zeros(40)
    lines = [(along, zero, 90), (-along, zero, 270), (zero, along, 0), (zero, -along, 180)]
    places = np.concatenate([np.stack([x, y, zero + 2], axis=1) for x, y, _ in lines])
    drive = np.repeat(np.arange(4), 40)
    rolls = rng.normal(0, roll_deg, 4)[drive] + rng.normal(0, 0.5, 160)
    headings = np.repeat([h for _, _, h in lines], 40)
    level = Rotation.from_matrix([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
    rotation = (
        Rotation.from_euler("z", rolls[:, None], degrees=True)
        * level
        * Rotation.from_euler("z", headings[:, None], degrees=True)
    )
    error = Rotation.from_euler("xyz", tilt_deg, degrees=True)
    gps = places + rng.normal(0, bias_m, (4, 3))[drive] + rng.normal(0, 1.0, (160, 3))
    node = np.zeros(160, np.int64)
    return Graph(
        n_nodes=1,
        pivots=np.zeros((1, 3)),
        cameras=Cameras(
            node=node, center=error.apply(places), rotation=rotation * error.inv(), drive=drive
        ),
        seams=np.zeros((0, 2), np.int64),
        gps_rows=np.arange(160),
        gps=gps,
        gps_weight=gps_weights(node),
        mounts=np.zeros((4, 2)),
    )


@pytest.mark.parametrize("seed", range(3))
def test_what_a_drive_shares_does_not_turn_stretch_or_tilt_the_city(seed):
    graph = crossing(np.random.default_rng(seed), tilt_deg=(1.5, -1.0, 3.0))
    found = solve_pose_graph(graph, Sigmas(log_scale=0.1))
    true = Rotation.from_euler("xyz", (1.5, -1.0, 3.0), degrees=True).inv()
    off_deg = np.degrees((found.rotation * true.inv()).as_rotvec()).ravel()
    assert np.abs(off_deg[:2]).max() < 0.9
    assert abs(off_deg[2]) < 0.6
    assert found.scale == pytest.approx(1.0, abs=0.006)


def test_the_bias_of_a_drive_is_learned_where_others_drive_too():
    """Drive 0 is 6 m off; only it passes a second component, of which nothing else is known."""
    rng = np.random.default_rng(6)
    graph = crossing(rng, bias_m=0.0)
    bias = np.array([6.0, 0.0, 0.0])
    graph.gps[:40] += bias
    lone = np.stack([np.full(40, 120.0), np.linspace(-60, 60, 40), np.full(40, 2.0)], axis=1)
    cameras = replace(
        graph.cameras,
        node=np.repeat([0, 1], [160, 40]),
        center=np.concatenate([graph.cameras.center, lone + bias]),
        rotation=Rotation.concatenate([graph.cameras.rotation, graph.cameras.rotation[80:120]]),
        drive=np.append(graph.cameras.drives, np.zeros(40, np.int64)),
    )
    both = replace(
        graph,
        n_nodes=2,
        pivots=np.array([[0.0, 0, 2], [126.0, 0, 2]]),
        cameras=cameras,
        gps_rows=np.arange(200),
        gps=np.concatenate([graph.gps, lone + bias + rng.normal(0, 1.0, lone.shape)]),
        gps_weight=gps_weights(cameras.node),
    )
    found = solve_pose_graph(both, Sigmas(shared_m=4.0))
    off = found.centers(cameras)[160:] - lone
    assert abs(np.median(off[:, 0])) < 0.6 * bias[0]


def test_photos_that_look_down_keep_their_mount():
    down = Rotation.from_matrix([[1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]])
    mounts = usual_mounts(Rotation.concatenate([down] * 5), np.zeros(5, np.int64), 1)
    assert mounts[0] == pytest.approx([0.0, -1.0])


@pytest.mark.parametrize("spread", [0.0, 0.05])
def test_the_slopes_with_drives_are_those_of_finite_differences(spread):
    rng = np.random.default_rng(9)
    graph = two_strips(rng)
    drive = np.where(np.arange(len(graph.cameras.node)) % 3 == 2, -1, graph.cameras.node)
    graph = with_drives(graph, drive)
    x = spread * rng.normal(size=28) * np.tile([0.3, 1, 1, 1, 10, 10, 10], 4)
    step = 1e-6
    columns = [
        (residuals(x + d, graph, Sigmas()) - residuals(x - d, graph, Sigmas())) / (2 * step)
        for d in step * np.eye(28)
    ]
    expected = np.column_stack(columns)
    wrong = np.abs(residual_slopes(x, graph, Sigmas()).toarray() - expected)
    assert (wrong.max(axis=1) <= 1e-5 * np.maximum(np.abs(expected).max(axis=1), 1e-6)).all()
