import sys
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pandas as pd
import pycolmap
import pytest
import torch

from citysplat_core.errors import FeatureError
from citysplat_core.features import hloc_adapter
from citysplat_core.features.backend import backend_named
from citysplat_core.features.database import connected, create_database, kinds_of
from citysplat_core.features.hloc_adapter import import_hloc_features
from citysplat_core.features.learned_store import read_features
from citysplat_core.settings import FeatureSettings


def test_hloc_without_a_configuration_is_refused():
    with pytest.raises(FeatureError, match="names no configuration"):
        backend_named("hloc")


@pytest.mark.skipif(find_spec("hloc") is not None, reason="hloc is installed")
def test_hloc_that_is_not_installed_is_refused_with_the_install_command():
    with pytest.raises(FeatureError, match=r"pip install .*Hierarchical-Localization@c13273bd"):
        backend_named("hloc:sift")


@pytest.fixture
def database(tmp_path, drawn_box):
    box = drawn_box(2)
    images = pd.read_parquet(box / "images.parquet")
    cameras = pd.read_parquet(box / "cameras.parquet")
    create_database(tmp_path / "f.db", cameras, images[images["status"] == "ok"])
    return tmp_path / "f.db"


def write_h5(path, names, dimensions):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        for name in names:
            group = file.create_group(name)
            group["keypoints"] = np.array([[0.0, 0.0], [10.25, 20.5]], dtype=np.float32)
            group["descriptors"] = rng.uniform(0, 1, (dimensions, 2)).astype(np.float32)


def test_hloc_features_are_written_with_colmaps_pixel_origin(tmp_path, database):
    names = ["photo0.jpg", "photo1.jpg"]
    write_h5(tmp_path / "f.h5", names, 128)
    import_hloc_features(tmp_path / "f.h5", database, names)
    with pycolmap.Database.open(database) as opened:
        points = opened.read_keypoints(42)
        data = opened.read_descriptors(42).data
    np.testing.assert_allclose(points[:, :2], [[0.5, 0.5], [10.75, 21.0]])
    assert data.shape == (2, 128)
    np.testing.assert_allclose(np.linalg.norm(data.astype(float), axis=1), 512, rtol=0.02)


def test_learned_descriptors_are_kept_beside_colmaps_own(tmp_path, database):
    write_h5(tmp_path / "f.h5", ["photo0.jpg"], 256)
    import_hloc_features(tmp_path / "f.h5", database, ["photo0.jpg"])
    assert kinds_of(database) == ("hloc",)
    with connected(database) as connection:
        found = read_features(connection, 41)
    np.testing.assert_allclose(found.keypoints_px, [[0.5, 0.5], [10.75, 21.0]])
    assert found.descriptors.shape == (2, 256)
    import_hloc_features(tmp_path / "f.h5", database, ["photo0.jpg"])  # done before: passed over
    assert kinds_of(database) == ("hloc",)


def test_photos_that_hloc_left_out_are_named(tmp_path, database):
    write_h5(tmp_path / "f.h5", ["photo0.jpg"], 128)
    with pytest.raises(FeatureError, match=r"1 of 2 photos are not in f.h5 \(\['photo1.jpg'\]\)"):
        import_hloc_features(tmp_path / "f.h5", database, ["photo0.jpg", "photo1.jpg"])


def test_hloc_extracts_on_the_threads_it_is_given_in_the_size_of_the_settings(
    tmp_path, database, monkeypatch
):
    pytest.importorskip("h5py")
    seen = []

    def main(conf, photos, *, image_list, feature_path, as_half):
        seen.append((conf["preprocessing"], photos, torch.get_num_threads()))
        assert not as_half
        write_h5(feature_path, image_list, 128)

    package, module = ModuleType("hloc"), ModuleType("hloc.extract_features")
    module.confs, module.main = {"sift": {"preprocessing": {"grayscale": True}}}, main
    package.extract_features = module
    monkeypatch.setitem(sys.modules, "hloc", package)
    monkeypatch.setitem(sys.modules, "hloc.extract_features", module)
    monkeypatch.setattr(hloc_adapter, "find_spec", lambda _name: object())
    before = torch.get_num_threads()
    settings = FeatureSettings(backend="hloc:sift", max_image_px=640)
    backend_named("hloc:sift").extract(
        database, tmp_path, ["photo0.jpg"], settings=settings, n_threads=3
    )
    assert seen == [({"grayscale": True, "resize_max": 640}, tmp_path, 3)]
    assert torch.get_num_threads() == before
    assert kinds_of(database) == ("sift",)
