from dataclasses import replace

import numpy as np
import pycolmap
import pytest

from citysplat_core.matching.inliers import read_graph
from tests.matching.look_alikes import Rows, drive_rows, write_database


@pytest.fixture(scope="module")
def rows() -> Rows:
    return drive_rows(6)


def few_pairs(rows: Rows):
    graph, _ = rows.graph([(0, 1, 0.0), (0, 2, 0.0), (1, 8, 0.0)])
    return graph


def test_pairs_are_read_as_they_were_written(tmp_path, rows):
    graph = few_pairs(rows)
    write_database(tmp_path / "matches.db", rows, graph, order=[2, 0, 1])
    out = read_graph([tmp_path / "matches.db"], rows.photos.colmap_id)
    np.testing.assert_array_equal(out.edges.rows, graph.edges.rows)
    np.testing.assert_array_equal(out.edges.config, graph.edges.config)
    np.testing.assert_array_equal(out.edges.n_inliers, graph.edges.n_inliers)
    np.testing.assert_allclose(out.edges.rotation, graph.edges.rotation, atol=1e-12)
    np.testing.assert_allclose(out.edges.translation, graph.edges.translation, atol=1e-12)
    np.testing.assert_array_equal(out.inliers.edge, graph.inliers.edge)
    np.testing.assert_array_equal(out.inliers.point, graph.inliers.point)
    np.testing.assert_allclose(out.inliers.bearing, graph.inliers.bearing, atol=1e-5)
    assert out.source.tolist() == [0, 0, 0]


def test_bearings_are_free_of_the_lens(tmp_path, rows):
    graph = few_pairs(rows)
    path = tmp_path / "matches.db"
    write_database(path, rows, graph)
    with pycolmap.Database.open(path) as database:
        camera = database.read_all_cameras()[0]
        camera.model = pycolmap.CameraModelId.SIMPLE_RADIAL
        camera.params = [500.0, 320.0, 240.0, -0.1]
        database.update_camera(camera)
        pixel = camera.img_from_cam(np.c_[rows.bearing[0], np.ones(len(rows.bearing[0]))])
        database.update_keypoints(int(rows.photos.colmap_id[0]), pixel.astype(np.float32))
    out = read_graph([path], rows.photos.colmap_id)
    first = graph.inliers.edge == 0
    np.testing.assert_allclose(
        out.inliers.bearing[first, 0], graph.inliers.bearing[first, 0], atol=1e-4
    )


def test_pairs_without_a_pose_and_pairs_of_strangers_are_passed_over(tmp_path, rows):
    path = tmp_path / "matches.db"
    write_database(path, rows, few_pairs(rows))
    ids = rows.photos.colmap_id
    with pycolmap.Database.open(path) as database:
        geometry = database.read_two_view_geometry(int(ids[0]), int(ids[2]))
        geometry.cam2_from_cam1 = None
        database.update_two_view_geometry(int(ids[0]), int(ids[2]), geometry)
    assert read_graph([path], ids).edges.rows.tolist() == [[0, 1], [1, 8]]
    assert read_graph([path], ids[:6]).edges.rows.tolist() == [[0, 1]]
    np.testing.assert_array_equal(read_graph([path], ids[1:]).edges.rows, [[0, 7]])


def test_of_a_pair_in_two_databases_the_first_counts(tmp_path, rows):
    graph = few_pairs(rows)
    turned = replace(graph.edges, translation=-graph.edges.translation)
    paths = [tmp_path / "one.db", tmp_path / "two.db"]
    write_database(paths[0], rows, graph, order=[1])
    write_database(paths[1], rows, replace(graph, edges=turned))
    out = read_graph(paths, rows.photos.colmap_id)
    assert out.source.tolist() == [1, 0, 1]
    sign = np.sign((out.edges.translation * graph.edges.translation).sum(axis=1))
    assert sign.tolist() == [-1, 1, -1]


def test_a_database_without_pairs_gives_an_empty_graph(tmp_path, rows):
    write_database(tmp_path / "matches.db", rows, rows.graph([])[0])
    graph = read_graph([tmp_path / "matches.db"], rows.photos.colmap_id)
    assert len(graph.edges) == len(graph.inliers) == len(graph.source) == 0
    assert graph.edges.rotation.shape == (0, 3, 3)
    assert graph.inliers.bearing.shape == (0, 2, 2)
