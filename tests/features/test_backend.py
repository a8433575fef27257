import pytest

from citysplat_core.errors import FeatureError
from citysplat_core.features.backend import BACKENDS, backend_named
from citysplat_core.features.sift import SiftBackend


def test_sift_is_found_by_name():
    assert isinstance(backend_named("sift"), SiftBackend)


def test_an_unknown_backend_is_refused_with_the_valid_names():
    with pytest.raises(
        FeatureError, match="'surf' is unknown; expected one of hloc, hybrid, sift, xfeat"
    ):
        backend_named("surf")


def test_sift_takes_no_configuration():
    with pytest.raises(FeatureError, match="configuration 'fast'"):
        backend_named("sift:fast")


def test_a_new_backend_is_one_entry_in_the_registry(monkeypatch):
    monkeypatch.setitem(BACKENDS, "own", lambda _conf: SiftBackend())
    assert isinstance(backend_named("own:any"), SiftBackend)
