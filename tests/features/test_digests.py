import sqlite3
from contextlib import closing

import pytest

from citysplat_core.features import digest_features, merge_databases
from citysplat_core.features.learned_store import TABLE


@pytest.fixture
def database(tmp_path, filled):
    return filled(tmp_path / "features.db", [1, 2, 3], [(1, 2)])


def changed(database, query, *values):
    """Give the photos whose digest another row gives."""
    before = digest_features(database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(query, values)
        connection.commit()
    after = digest_features(database)
    return [key for key in before if before[key] != after.get(key)]


def test_a_photo_has_one_digest_in_every_database(database, tmp_path):
    merge_databases([database], tmp_path / "cut.db", keep_descriptors=True, image_ids={1, 3})
    whole, cut = digest_features(database), digest_features(tmp_path / "cut.db")
    assert cut == {key: whole[key] for key in (1, 3)}
    assert len(set(whole.values())) == 3


def test_keypoints_and_descriptors_change_the_digest_of_their_photo(database):
    query = "UPDATE {} SET data = zeroblob(length(data) - 1) || x'07' WHERE image_id = 2"
    assert changed(database, query.format("keypoints")) == [2]
    assert changed(database, query.format("descriptors")) == [2]
    assert changed(database, "DELETE FROM descriptors WHERE image_id = 3") == [3]


def test_a_camera_changes_the_digest_of_all_its_photos(database):
    assert changed(database, "UPDATE cameras SET params = x'00'") == [1, 2, 3]
    assert changed(database, "UPDATE cameras SET prior_focal_length = 5") == [1, 2, 3]


def test_learned_descriptors_count_too(database):
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(
            f"CREATE TABLE {TABLE} (image_id INTEGER PRIMARY KEY NOT NULL, kind TEXT NOT NULL,"
            " first INTEGER NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB)"
        )
    insert = f"INSERT INTO {TABLE} VALUES (2, 'xfeat', 5, 1, 2, x'0102')"  # noqa: S608 - own name
    assert changed(database, insert) == [2]


def test_positions_and_pairs_change_nothing(database):
    assert not changed(database, "DELETE FROM pose_priors")
    assert not changed(database, "DELETE FROM two_view_geometries")
