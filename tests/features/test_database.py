import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.errors import FeatureError
from citysplat_core.features.database import (
    create_database,
    finish_database,
    merge_databases,
    pair_id_of,
    read_pair_counts,
    remove_pairs,
    strip_database,
)

BIG = 2_000_000_000


def cameras(*ids: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "camera_id": list(ids),
            "camera_key": [f"key {key}" for key in ids],
            "model": "SIMPLE_RADIAL",
            "width": 64,
            "height": 48,
            "params": [[50.0, 32.0, 24.0, 0.0]] * len(ids),
            "has_prior_focal": [key % 2 == 1 for key in ids],
        }
    )


def images(*ids: int, camera_id: int = 7) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"photo-{key}" for key in ids],
            "colmap_id": list(ids),
            "camera_id": camera_id,
            "east_m": [float(key % 100) for key in ids],
            "north_m": 5.0,
            "up_m": [np.nan if index == 0 else 30.0 for index in range(len(ids))],
        }
    )


def filled(path: Path, ids: list[int], pairs: list[tuple[int, int]], camera_id: int = 7) -> Path:
    create_database(path, cameras(camera_id), images(*ids, camera_id=camera_id))
    with pycolmap.Database.open(path) as database:
        for image_id in ids:
            points = np.full((5, 6), image_id % 50, dtype=np.float32)
            database.write_keypoints(image_id, points)
            data = np.zeros((5, 128), dtype=np.uint8)
            kind = pycolmap.FeatureExtractorType.SIFT
            database.write_descriptors(image_id, pycolmap.FeatureDescriptors(kind, data))
        for a, b in pairs:
            matches = np.array([[0, 0], [1, 1], [2, 2]], dtype=np.uint32)
            database.write_matches(a, b, matches)
            geometry = pycolmap.TwoViewGeometry(config=2, inlier_matches=matches[:2])
            database.write_two_view_geometry(a, b, geometry)
    return path


def test_a_new_database_keeps_the_given_ids_and_priors(tmp_path):
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


def test_a_missing_altitude_takes_the_median_height_and_a_wide_deviation(tmp_path):
    create_database(tmp_path / "a.db", cameras(7), images(1, 2), missing_up_std_m=50.0)
    with pycolmap.Database.open(tmp_path / "a.db") as database:
        prior = database.read_all_pose_priors()[0]
    assert prior.position[2] == 30.0
    assert prior.position_covariance[2, 2] == 2500.0


def test_a_finished_database_is_one_file(tmp_path):
    path = filled(tmp_path / "a.db", [1, 2], [(1, 2)])
    finish_database(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.db"]
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_merging_writes_a_shared_image_once_and_keeps_all_pairs(tmp_path):
    first = filled(tmp_path / "a.db", [1, 2, 3], [(1, 2), (3, 2)])
    second = filled(tmp_path / "b.db", [3, BIG], [(3, BIG)], camera_id=7)
    merge_databases([first, second], tmp_path / "m.db", keep_descriptors=False)
    with pycolmap.Database.open(tmp_path / "m.db") as database:
        assert database.num_images() == 4
        assert database.num_keypoints() == 20
        assert database.num_descriptors() == 0
        assert database.num_frames() == 4
        assert sorted(prior.pose_prior_id for prior in database.read_all_pose_priors()) == [
            1, 2, 3, BIG,
        ]  # fmt: skip
        cache_options = pycolmap.DatabaseCacheOptions(min_num_matches=1)
        cache = pycolmap.DatabaseCache.create(database, cache_options)
        assert cache.num_images() == 4
    counts = read_pair_counts(tmp_path / "m.db")
    assert counts[["colmap_id_a", "colmap_id_b"]].to_numpy().tolist() == [[1, 2], [2, 3], [3, BIG]]
    assert counts["n_matches"].tolist() == [3, 3, 3]
    assert counts["n_inliers"].tolist() == [2, 2, 2]


def test_a_cut_holds_the_chosen_images_and_the_pairs_between_them(tmp_path):
    source = filled(tmp_path / "a.db", [1, 2, 3, 4], [(1, 2), (2, 3), (3, 4)])
    merge_databases([source], tmp_path / "cut.db", keep_descriptors=True, image_ids=[2, 3])
    with pycolmap.Database.open(tmp_path / "cut.db") as database:
        assert [image.image_id for image in database.read_all_images()] == [2, 3]
        assert database.num_frames() == 2
        assert database.num_pose_priors() == 2
        assert database.num_descriptors() == 10
    counts = read_pair_counts(tmp_path / "cut.db")
    assert counts[["colmap_id_a", "colmap_id_b"]].to_numpy().tolist() == [[2, 3]]


def test_databases_of_two_catalogs_are_refused(tmp_path):
    first = filled(tmp_path / "a.db", [1, 2], [])
    create_database(tmp_path / "b.db", cameras(7), images(2, 3).assign(image_id=["x", "y"]))
    with pytest.raises(FeatureError, match=r"a name that differs .*ids \[2\]"):
        merge_databases([first, tmp_path / "b.db"], tmp_path / "m.db", keep_descriptors=True)


def test_an_existing_database_is_never_overwritten(tmp_path):
    path = filled(tmp_path / "a.db", [1], [])
    with pytest.raises(FeatureError, match="exists already"):
        create_database(path, cameras(7), images(1))
    with pytest.raises(FeatureError, match="exists already"):
        merge_databases([path], path, keep_descriptors=True)


def test_an_image_without_its_camera_is_refused(tmp_path):
    with pytest.raises(FeatureError, match=r"1 camera ids .* \(\[7\]\)"):
        create_database(tmp_path / "a.db", cameras(8), images(1))


def test_removed_pairs_and_stripped_tables_are_gone(tmp_path):
    path = filled(tmp_path / "a.db", [1, 2, 3], [(1, 2), (2, 3)])
    remove_pairs(path, [(3, 2), (1, 3)])
    strip_database(path)
    counts = read_pair_counts(path)
    assert counts.to_numpy().tolist() == [[1, 2, 0, 2, 2]]
    with pycolmap.Database.open(path) as database:
        assert database.num_descriptors() == 0


def test_pair_ids_are_those_of_colmap():
    assert pair_id_of(9, BIG) == pycolmap.image_pair_to_pair_id(9, BIG) == pair_id_of(BIG, 9)
