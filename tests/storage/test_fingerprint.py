"""The name of a recipe: the same for the same recipe, another for any other."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citysplat_core.storage import digest_of, fingerprint, settings_dict, sha256_of

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
recipes = st.dictionaries(st.text(min_size=1), values, max_size=5)
BASE = ("splat", "1", {"a": 1, "b": 2.5}, {"photos": "abc", "model": "def"})


@given(recipes, st.randoms())
@settings(max_examples=30)
def test_the_order_of_keys_does_not_matter(recipe, random):
    items = list(recipe.items())
    random.shuffle(items)
    assert digest_of(dict(items)) == digest_of(recipe)


@pytest.mark.parametrize(
    "other",
    [
        ("splats", *BASE[1:]),
        ("splat", "2", *BASE[2:]),
        (*BASE[:2], {"a": 1, "b": 2.50001}, BASE[3]),
        (*BASE[:2], {"a": 1}, BASE[3]),
        (*BASE[:2], {**BASE[2], "c": None}, BASE[3]),
        (*BASE[:3], {"photos": "abc", "model": "deg"}),
        (*BASE[:3], {"photos": "def", "model": "abc"}),
        (*BASE[:3], {"photos": "abc"}),
    ],
)
def test_any_change_gives_another_name(other):
    assert fingerprint(*other) != fingerprint(*BASE)


def test_a_name_is_sixteen_hex_digits_and_stays_what_it_is():
    assert fingerprint("splat", "1", {}, {}) == "3a2feb63374ace22"


def test_nan_in_a_recipe_is_refused():
    with pytest.raises(ValueError, match="JSON compliant"):
        digest_of({"a": float("nan")})


def test_settings_may_be_nothing_or_a_mapping():
    assert settings_dict(None) == {}
    assert settings_dict({"a": 1}) == {"a": 1}


def test_a_file_is_hashed_by_its_bytes(tmp_path):
    (tmp_path / "f").write_bytes(b"hello")
    assert sha256_of(tmp_path / "f") == hashlib.sha256(b"hello").hexdigest()
