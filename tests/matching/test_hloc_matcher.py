"""hloc's matcher behind ours; a stand-in writes what hloc would write."""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pycolmap
import pytest
import torch

from citysplat_core.errors import MatchingError
from citysplat_core.features import connected
from citysplat_core.features.learned_store import append_features, create_table
from citysplat_core.matching import hloc_matcher
from citysplat_core.matching.matchers import add_matches, matcher_named, matchers_for
from tests.matching.three_photos import create_three_photos

h5py = pytest.importorskip("h5py")


@pytest.fixture
def database(tmp_path):
    """Three photos with six learned keypoints of hloc."""
    path = tmp_path / "features.db"
    create_three_photos(path, 64, 48, 50.0)
    with connected(path) as connection:
        create_table(connection)
        for key in (1, 2, 3):
            points = np.full((6, 2), 10.0 + key, dtype=np.float32)
            append_features(connection, key, "hloc", points, np.eye(6, 32, dtype=np.float32))
    return path


@pytest.fixture
def hloc(monkeypatch):
    """Install a module that matches row i of the first photo with row i + 1 of the second."""
    seen = []

    def main(conf: dict, pairs: Path, *, features: Path, matches: Path) -> None:
        with h5py.File(features, "r") as file:
            shape = file["a.jpg"]["descriptors"].shape
            seen.append((conf["output"], sorted(file), shape, torch.get_num_threads()))
        with h5py.File(matches, "w") as file:
            for line in pairs.read_text().splitlines():
                group = file.create_group("/".join(line.split()))
                group["matches0"] = np.array([1, 2, 3, 4, 5, -1], dtype=np.int16)

    package, module = ModuleType("hloc"), ModuleType("hloc.match_features")
    module.confs, module.main = {"disk+lightglue": {"output": "m"}}, main
    package.match_features = module
    monkeypatch.setitem(sys.modules, "hloc", package)
    monkeypatch.setitem(sys.modules, "hloc.match_features", module)
    monkeypatch.setattr(hloc_matcher, "find_spec", lambda _name: object())
    return seen


def test_hlocs_matches_come_back_as_rows_of_our_keypoints(database, hloc):
    assert matchers_for(database, "hloc:disk+lightglue") == ("hloc:disk+lightglue",)
    matcher = matcher_named("hloc:disk+lightglue")
    add_matches(database, [(1, 2)], matcher, n_threads=1)
    with pycolmap.Database.open(database) as opened:
        rows = opened.read_matches(1, 2)
    assert rows.tolist() == [[row, row + 1] for row in range(5)]
    assert hloc == [("m", ["a.jpg", "b.jpg"], (32, 6), 1)]
    assert sorted(path.name for path in database.parent.iterdir()) == ["features.db"]


def test_hloc_keeps_to_the_threads_it_is_given_and_leaves_torchs_own_as_it_was(database, hloc):
    before = torch.get_num_threads()
    for n_threads in (1, 3):
        matcher_named("hloc:disk+lightglue").match(database, [(1, 2)], n_threads=n_threads)
    assert [row[-1] for row in hloc] == [1, 3]
    assert torch.get_num_threads() == before


def test_an_unknown_configuration_is_refused_with_the_valid_names(database, hloc):
    with pytest.raises(MatchingError, match=r"no matcher 'magic'; expected one of disk\+lightglue"):
        matcher_named("hloc:magic").match(database, [(1, 2)], n_threads=1)
    assert hloc == []


@pytest.mark.parametrize("name", ["auto", "sift", "lighterglue"])
def test_learned_features_of_hloc_never_go_to_another_matcher(database, name):
    with pytest.raises(MatchingError, match=f"matcher {name} was asked for and the features are"):
        matchers_for(database, name)


@pytest.mark.skipif(find_spec("hloc") is not None, reason="hloc is installed")
def test_without_hloc_the_command_that_installs_it_is_named():
    with pytest.raises(MatchingError, match=r"not installed.*Hierarchical-Localization@"):
        matcher_named("hloc:disk+lightglue")
