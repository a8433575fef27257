"""hloc's files, read back with h5py alone and hloc's own rules for names and rows."""

import numpy as np
import pycolmap
import pytest

from citysplat_core.errors import FeatureError
from citysplat_core.features.database import connected, create_database
from citysplat_core.features.hloc_files import (
    export_features,
    export_matches,
    import_matches,
    read_pairs,
)
from citysplat_core.features.learned_store import append_features, create_table

h5py = pytest.importorskip("h5py")

INLIERS = np.array([[0, 4], [2, 1], [3, 3]], dtype=np.uint32)


@pytest.fixture
def database(tmp_path, cameras, images):
    """Three photos with five keypoints; the first two have a verified pair."""
    path = tmp_path / "features.db"
    create_database(path, cameras(7), images(11, 12, 13))
    rng = np.random.default_rng(0)
    with pycolmap.Database.open(path) as opened:
        for key in (11, 12, 13):
            opened.write_keypoints(key, rng.uniform(1, 40, (5, 2)).astype(np.float32))
            data = rng.integers(0, 255, (5, 128)).astype(np.uint8)
            kind = pycolmap.FeatureExtractorType.SIFT
            opened.write_descriptors(key, pycolmap.FeatureDescriptors(kind, data))
        geometry = pycolmap.TwoViewGeometry(config=2, inlier_matches=INLIERS)
        opened.write_two_view_geometry(11, 12, geometry)
    return path


def matches_as_hloc_reads_them(path, name0, name1):
    """Follow hloc's find_pair and get_matches: both orders, then the older joint."""
    with h5py.File(path, "r") as file:
        for joint in ("/", "_"):
            for first, second in ((name0, name1), (name1, name0)):
                key = joint.join(name.replace("/", "-") for name in (first, second))
                if key in file:
                    partner = file[key]["matches0"][()]
                    rows = np.where(partner != -1)[0]
                    rows = np.stack([rows, partner[rows]], -1)
                    return np.flip(rows, -1) if first == name1 else rows
    return None


def test_exported_features_are_hlocs(tmp_path, database):
    assert export_features(database, tmp_path / "features.h5") == 3
    with pycolmap.Database.open(database) as opened:
        points = opened.read_keypoints(11)[:, :2]
        data = opened.read_descriptors(11).data
    with h5py.File(tmp_path / "features.h5", "r") as file:
        group = file["photo-11.jpg"]
        assert group["keypoints"].dtype == np.float32
        np.testing.assert_allclose(group["keypoints"][()], points - 0.5, atol=1e-6)
        assert group["descriptors"].shape == (128, 5)
        np.testing.assert_allclose(group["descriptors"][()].T * 512, data, atol=1e-3)
        assert group["image_size"][()].tolist() == [64, 48]
        assert group["scores"].shape == (5,)
        assert group["keypoints"].attrs["uncertainty"] == 1.0


def test_learned_descriptors_are_exported_too(tmp_path, cameras, images):
    path = tmp_path / "xfeat.db"
    create_database(path, cameras(7), images(11))
    values = np.eye(4, 64, dtype=np.float32)
    with connected(path) as connection:
        create_table(connection)
        append_features(connection, 11, "xfeat", np.full((4, 2), 8.5, dtype=np.float32), values)
    export_features(path, tmp_path / "f.h5")
    with h5py.File(tmp_path / "f.h5", "r") as file:
        np.testing.assert_allclose(file["photo-11.jpg"]["descriptors"][()].T, values, atol=1e-6)
        np.testing.assert_array_equal(file["photo-11.jpg"]["keypoints"][()], 8.0)


def test_exported_matches_are_the_inliers_and_the_list_names_their_pairs(tmp_path, database):
    files = tmp_path / "matches.h5", tmp_path / "pairs.txt"
    assert export_matches(database, *files) == 1
    assert files[1].read_text() == "photo-11.jpg photo-12.jpg\n"
    found = matches_as_hloc_reads_them(files[0], "photo-11.jpg", "photo-12.jpg")
    np.testing.assert_array_equal(found, INLIERS)
    with h5py.File(files[0], "r") as file:
        assert file["photo-11.jpg/photo-12.jpg/matches0"].dtype == np.int16


def test_matches_go_out_and_come_back_the_same(tmp_path, database):
    files = tmp_path / "matches.h5", tmp_path / "pairs.txt"
    export_matches(database, *files)
    turned = [(b, a) for a, b in read_pairs(files[1])]
    assert import_matches(files[0], database, turned) == 3
    with pycolmap.Database.open(database) as opened:
        np.testing.assert_array_equal(opened.read_matches(11, 12), INLIERS)
    assert import_matches(files[0], database, turned) == 0


@pytest.mark.parametrize("key", ["photo-11.jpg_photo-13.jpg", "photo-13.jpg_photo-11.jpg"])
def test_hlocs_older_names_of_pairs_are_read(tmp_path, database, key):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_group(key)["matches0"] = np.array([-1, 0, -1, -1, 2], dtype=np.int16)
    import_matches(tmp_path / "m.h5", database, [("photo-11.jpg", "photo-13.jpg")])
    expected = [[1, 0], [4, 2]] if key.startswith("photo-11") else [[0, 1], [2, 4]]
    with pycolmap.Database.open(database) as opened:
        assert opened.read_matches(11, 13).tolist() == expected


def test_matches_of_other_features_are_refused(tmp_path, database):
    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = file.create_group("photo-11.jpg/photo-12.jpg")
        group["matches0"] = np.array([7], dtype=np.int16)
    with pytest.raises(FeatureError, match=r"name keypoint rows \[0 7\] of 5 and 5"):
        import_matches(tmp_path / "m.h5", database, [("photo-11.jpg", "photo-12.jpg")])


def test_missing_pairs_and_photos_are_named(tmp_path, database):
    with h5py.File(tmp_path / "m.h5", "w"):
        pass
    with pytest.raises(FeatureError, match=r"pair photo-11.jpg photo-12.jpg is not in m\.h5"):
        import_matches(tmp_path / "m.h5", database, [("photo-11.jpg", "photo-12.jpg")])
    with pytest.raises(FeatureError, match=r"photo x\.jpg is not in features\.db"):
        import_matches(tmp_path / "m.h5", database, [("photo-11.jpg", "x.jpg")])


def test_a_list_of_pairs_with_a_wrong_line_is_refused(tmp_path):
    (tmp_path / "pairs.txt").write_text("a b\n\nc\n")
    with pytest.raises(FeatureError, match=r"line 3 of pairs\.txt is 'c'"):
        read_pairs(tmp_path / "pairs.txt")


def test_a_file_that_is_no_hdf5_is_refused(tmp_path, database):
    (tmp_path / "m.h5").write_bytes(b"nothing")
    with pytest.raises(FeatureError, match=r"m\.h5 cannot be opened as HDF5"):
        import_matches(tmp_path / "m.h5", database, [])


def test_a_failed_export_leaves_the_old_file(tmp_path, database):
    out = tmp_path / "features.h5"
    out.write_bytes(b"old")
    with connected(database) as connection:
        many = np.zeros((32768, 2), dtype=np.float32)
        connection.execute(
            "UPDATE keypoints SET rows = ?, data = ? WHERE image_id = 13",
            (len(many), many.tobytes()),
        )
    with pytest.raises(FeatureError, match="has 32768 keypoints"):
        export_features(database, out)
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.glob("*.h5*")] == ["features.h5"]


def test_without_h5py_the_command_that_installs_it_is_named(tmp_path, database, monkeypatch):
    monkeypatch.setattr("citysplat_core.features.hloc_files.find_spec", lambda _name: None)
    with pytest.raises(FeatureError, match=r"pip install 'citysplat\[hloc\]'"):
        export_features(database, tmp_path / "f.h5")
