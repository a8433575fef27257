import sqlite3
from contextlib import closing

import numpy as np
import pycolmap
import pytest

from citysplat_core.errors import FeatureError
from citysplat_core.features.database import (
    create_database,
    finish_database,
    pair_id_of,
    read_pair_counts,
    remove_pairs,
    strip_database,
)

BIG = 2_000_000_000


def test_a_new_database_keeps_the_given_ids_and_priors(tmp_path, cameras, images):
    path = tmp_path / "a.db"
    create_database(path, cameras(7, 9), images(BIG, BIG + 1), prior_std_m=3.0)
    finish_database(path)
    with pycolmap.Database.open(path) as database:
        assert sorted(image.image_id for image in database.read_all_images()) == [BIG, BIG + 1]
        assert [camera.camera_id for camera in database.read_all_cameras()] == [7]
        assert database.read_camera(7).has_prior_focal_length
        frames = database.read_all_frames()
        assert [(frame.frame_id, frame.rig_id) for frame in frames] == [(BIG, 7), (BIG + 1, 7)]
        first, second = database.read_all_pose_priors()
    assert first.pose_prior_id == BIG
    assert first.coordinate_system == pycolmap.PosePriorCoordinateSystem.CARTESIAN
    np.testing.assert_allclose(second.position, [1.0, 5.0, 30.0])
    np.testing.assert_allclose(np.diag(second.position_covariance), [9.0, 9.0, 100.0])


def test_a_missing_altitude_takes_the_median_height_and_a_wide_deviation(tmp_path, cameras, images):
    create_database(tmp_path / "a.db", cameras(7), images(1, 2), missing_up_std_m=50.0)
    with pycolmap.Database.open(tmp_path / "a.db") as database:
        prior = database.read_all_pose_priors()[0]
    assert prior.position[2] == 30.0
    assert prior.position_covariance[2, 2] == 2500.0


def test_a_finished_database_is_one_file(tmp_path, filled):
    path = filled(tmp_path / "a.db", [1, 2], [(1, 2)])
    finish_database(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.db"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_an_image_without_its_camera_is_refused(tmp_path, cameras, images):
    with pytest.raises(FeatureError, match=r"1 camera ids .* \(\[7\]\)"):
        create_database(tmp_path / "a.db", cameras(8), images(1))


def test_removed_pairs_and_stripped_tables_are_gone(tmp_path, filled):
    path = filled(tmp_path / "a.db", [1, 2, 3], [(1, 2), (2, 3)])
    remove_pairs(path, [(3, 2), (1, 3)])
    strip_database(path)
    counts = read_pair_counts(path)
    assert counts.to_numpy().tolist() == [[1, 2, 0, 2, 2]]
    with pycolmap.Database.open(path) as database:
        assert database.num_descriptors() == 0
        assert np.asarray(database.read_keypoints(2))[:, :2].tolist() == [[2.0, 2.0]] * 5


def test_pair_ids_are_those_of_colmap():
    assert pair_id_of(9, BIG) == pycolmap.image_pair_to_pair_id(9, BIG) == pair_id_of(BIG, 9)
