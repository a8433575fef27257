from dataclasses import replace

import numpy as np
import pytest

from citysplat_core.matching.depths import find_depths, laplacian, triangulate
from citysplat_core.matching.evidence import sequence_steps
from tests.matching.look_alikes import Rows, drive_rows


@pytest.fixture(scope="module")
def rows() -> Rows:
    return drive_rows()


def neighbours_of(rows: Rows):
    drive = rows.photos.sequence
    return [pair for pair in rows.true_pairs() if drive[pair[0]] == drive[pair[1]]]


def depths_of(rows: Rows, graph):
    steps, _ = sequence_steps(rows.photos, graph.edges)
    first, second = graph.edges.rows.T
    way = rows.photos.east_north_m[second] - rows.photos.east_north_m[first]
    usable = steps > 0
    return find_depths(graph.edges, graph.inliers, usable, steps, np.hypot(*way.T))


def true_depths(rows: Rows, graph) -> np.ndarray:
    return rows.depth_m(graph.edges.rows[graph.inliers.edge], graph.inliers.point)


def test_rays_meet_at_the_true_depth(rows):
    graph, _ = rows.graph([(0, 2, 0.0)])
    graph.inliers.bearing[:] = np.take_along_axis(
        (rows.local_m[:, :, :2] / rows.local_m[:, :, 2:])[[0, 2]],
        graph.inliers.point.T[:, :, None],
        axis=1,
    ).transpose(1, 0, 2)
    world = rows.relative_pose(0, 2)
    edges = replace(graph.edges, rotation=world[0][None], translation=5.0 * world[1][None])
    first, second, angle = triangulate(edges, graph.inliers)
    baseline_m = np.linalg.norm(rows.position_m[2] - rows.position_m[0])
    truth = true_depths(rows, graph) / baseline_m
    sharp = angle > 1.0
    assert sharp.sum() > 20
    np.testing.assert_allclose(first[sharp], truth[sharp, 0], rtol=1e-4)
    np.testing.assert_allclose(second[sharp], truth[sharp, 1], rtol=1e-4)


def test_confirmed_depths_are_metric_and_within_a_tenth_of_the_truth(rows):
    graph, _ = rows.graph(neighbours_of(rows))
    depths = depths_of(rows, graph)
    photo, point = depths.sure_key // depths.stride, depths.sure_key % depths.stride
    truth = rows.depth_m(photo, point)
    error = np.abs(np.exp(depths.sure_log_depth) / truth - 1.0)
    assert len(error) > 2000
    assert np.median(error) < 0.05
    assert (error[truth < 25] < 0.1).mean() > 0.9
    assert (np.diff(depths.sure_key) > 0).all()
    assert np.isfinite(depths.sure_log_depth).all()
    assert (depths.verdict >= 0).mean() > 0.97


def test_lengths_follow_gps_that_errs_alike_along_a_drive(rows):
    far_off = replace(
        rows.photos, east_north_m=rows.photos.east_north_m + np.array([500.0, -300.0])
    )
    graph, _ = rows.graph(neighbours_of(rows))
    here, there = depths_of(rows, graph), depths_of(replace(rows, photos=far_off), graph)
    np.testing.assert_allclose(here.sure_log_depth, there.sure_log_depth, atol=1e-9)
    np.testing.assert_array_equal(here.sure_key, there.sure_key)


def test_false_matches_of_a_pair_of_neighbours_are_not_confirmed(rows):
    mixed = [(3, 7, 0.4), (19, 21, 0.3), (30, 34, 0.4)]
    pairs = [pair for pair in neighbours_of(rows) if pair[:2] not in {pair[:2] for pair in mixed}]
    graph, is_true = rows.graph([*pairs, *mixed])
    verdict = depths_of(rows, graph).verdict
    assert (verdict[~is_true] == 1).mean() < 0.05
    assert (verdict[is_true] == 1).mean() > 0.85


def test_a_pair_that_nobody_confirms_has_depths_but_no_sure_ones(rows):
    graph, _ = rows.graph([(0, 1, 0.0)])
    depths = depths_of(rows, graph)
    assert np.isfinite(depths.log_depth).mean() > 0.9
    assert not depths.verdict.any()
    assert not len(depths.sure_key)


def test_pairs_that_are_not_usable_have_no_depths(rows):
    graph, _ = rows.graph([*neighbours_of(rows), (2, 16, 0.0)])
    depths = depths_of(rows, graph)
    last = graph.inliers.edge == len(graph.edges) - 1
    assert np.isnan(depths.log_depth[last]).all()
    assert not depths.verdict[last].any()


def test_photos_that_did_not_move_and_no_pairs_at_all_are_no_error(rows):
    still = replace(rows.photos, east_north_m=np.zeros_like(rows.photos.east_north_m))
    graph, _ = rows.graph(neighbours_of(rows)[:12])
    depths = depths_of(replace(rows, photos=still), graph)
    assert np.isfinite(depths.sure_log_depth).all()
    none, _ = rows.graph([])
    assert depths_of(rows, none).log_depth.shape == (0, 2)


def test_small_angles_are_said_to_be_uncertain(rows):
    graph, _ = rows.graph(neighbours_of(rows))
    depths = depths_of(rows, graph)
    assert (depths.sigma[depths.angle_deg < 1.0] > 0.2).all()
    assert (depths.sigma[depths.angle_deg > 5.0] < 0.08).all()


def test_the_matrix_is_that_of_squared_differences():
    matrix = laplacian(np.array([0, 1]), np.array([1, 2]), np.array([2.0, 3.0]), 3).toarray()
    x = np.array([1.0, 4.0, -2.0])
    assert x @ matrix @ x == pytest.approx(2 * 9 + 3 * 36)
