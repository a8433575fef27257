import pytest

from .street import StreetArtifacts, build_street


@pytest.fixture(scope="session")
def street(tmp_path_factory) -> StreetArtifacts:
    return build_street(tmp_path_factory.mktemp("street"))
