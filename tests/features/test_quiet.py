import pycolmap

from citysplat_core.features import quiet_colmap


def test_the_users_own_level_comes_back(monkeypatch):
    monkeypatch.setattr(pycolmap.logging, "minloglevel", 1)
    with quiet_colmap():
        assert pycolmap.logging.minloglevel == 2
    assert pycolmap.logging.minloglevel == 1
