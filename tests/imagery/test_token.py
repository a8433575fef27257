import pickle

import pytest

from citysplat_core.errors import ConfigError, TokenError
from citysplat_core.imagery import FolderSource, MapillarySource, Token, open_source
from citysplat_core.settings import SourceSettings

SECRET = "MLY|1234|abcdef"  # noqa: S105 - nobody's


def test_a_token_shows_itself_nowhere():
    token = Token(f" {SECRET}\n")
    assert token.reveal() == SECRET
    assert "abcdef" not in f"{token} {token!r} {[token]}"
    with pytest.raises(TypeError, match="not written to files"):
        pickle.dumps(token)


def test_every_form_of_a_token_is_redacted():
    text = Token(SECRET).redact(f"GET /x?access_token=MLY%7C1234%7Cabcdef and {SECRET}")
    assert "abcdef" not in text


def test_mapillary_without_a_token_is_a_token_error(tmp_path):
    for token in (None, Token("")):
        with pytest.raises(TokenError, match=r"no Mapillary token.*MAPILLARY_TOKEN"):
            open_source(SourceSettings(), tmp_path, token=token, cache_dir=tmp_path)


def test_the_settings_choose_the_source(tmp_path):
    (tmp_path / "mine").mkdir()
    folder = SourceSettings(kind="folder", path="mine")
    opened = open_source(folder, tmp_path, token=None, cache_dir=tmp_path)
    assert isinstance(opened, FolderSource)
    service = open_source(SourceSettings(), tmp_path, token=Token(SECRET), cache_dir=tmp_path)
    assert isinstance(service, MapillarySource)
    assert "abcdef" not in repr(vars(service))
    with pytest.raises(ConfigError, match=r"source\.path is empty"):
        open_source(SourceSettings(kind="folder"), tmp_path, token=None, cache_dir=tmp_path)
