"""The form of every error."""

import inspect
import pickle

import pytest

from citysplat_core import errors
from citysplat_core.errors import CitySplatError, ConfigError, StorageError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


def test_a_message_says_what_was_seen_what_was_expected_and_what_to_do():
    error = StorageError("2 files", expected="3 files", fix="Run again.", box="0123")
    assert str(error) == "Box 0123: 2 files; expected 3 files. Run again."
    assert error.box == "0123"
    assert str(ConfigError("a", expected="b", fix="C.")) == "a; expected b. C."


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_one_root_and_survives_the_way_from_a_worker(kind):
    assert issubclass(kind, CitySplatError)
    error = kind("seen", expected="expected", fix="Fix.", box="0123")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert str(again) == str(error)
    assert again.fix == "Fix."
