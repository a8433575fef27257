import pycolmap
import pytest

from citysplat_core.errors import FeatureError
from citysplat_core.features.database import create_database, read_pair_counts
from citysplat_core.features.merging import copy_database, merge_databases

BIG = 2_000_000_000


def test_merging_writes_a_shared_image_once_and_keeps_all_pairs(tmp_path, filled):
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


def test_a_cut_holds_the_chosen_images_and_the_pairs_between_them(tmp_path, filled):
    source = filled(tmp_path / "a.db", [1, 2, 3, 4], [(1, 2), (2, 3), (3, 4)])
    merge_databases([source], tmp_path / "cut.db", keep_descriptors=True, image_ids=[2, 3])
    with pycolmap.Database.open(tmp_path / "cut.db") as database:
        assert [image.image_id for image in database.read_all_images()] == [2, 3]
        assert database.num_frames() == 2
        assert database.num_pose_priors() == 2
        assert database.num_descriptors() == 10
    counts = read_pair_counts(tmp_path / "cut.db")
    assert counts[["colmap_id_a", "colmap_id_b"]].to_numpy().tolist() == [[2, 3]]


def test_databases_of_two_catalogs_are_refused(tmp_path, cameras, images, filled):
    first = filled(tmp_path / "a.db", [1, 2], [])
    create_database(tmp_path / "b.db", cameras(7), images(2, 3).assign(image_id=["x", "y"]))
    with pytest.raises(FeatureError, match=r"a name that differs .*ids \[2\]"):
        merge_databases([first, tmp_path / "b.db"], tmp_path / "m.db", keep_descriptors=True)


def test_an_existing_database_is_never_overwritten(tmp_path, cameras, images, filled):
    path = filled(tmp_path / "a.db", [1], [])
    with pytest.raises(FeatureError, match="exists already"):
        create_database(path, cameras(7), images(1))
    with pytest.raises(FeatureError, match="exists already"):
        merge_databases([path], path, keep_descriptors=True)


def test_a_copy_of_an_open_database_has_its_last_writes(tmp_path, filled):
    source = filled(tmp_path / "a.db", [1, 2], [(1, 2)])
    with pycolmap.Database.open(source) as database:
        database.clear_keypoints()
        copy_database(source, tmp_path / "b.db")
    with pycolmap.Database.open(tmp_path / "b.db") as copy:
        assert copy.num_keypoints() == 0
        assert copy.num_descriptors() == 10
    assert len(read_pair_counts(tmp_path / "b.db")) == 1


def test_a_source_that_is_not_there_is_named(tmp_path, filled):
    source = filled(tmp_path / "a.db", [1], [])
    with pytest.raises(FeatureError, match=r"1 of 2 databases do not exist \(.*gone.db\)"):
        merge_databases([source, tmp_path / "gone.db"], tmp_path / "m.db", keep_descriptors=True)
    assert not (tmp_path / "m.db").exists()
