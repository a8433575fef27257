from concurrent.futures import ProcessPoolExecutor

import pytest

from citysplat_core.errors import StorageError
from citysplat_core.imagery import IdentityRegistry


def test_numbers_are_issued_in_sorted_order_and_stay(tmp_path):
    registry = IdentityRegistry(tmp_path / "identity.sqlite")
    assert registry.issue(["c", "a", "b", "a"]) == {"a": 1, "b": 2, "c": 3}
    assert registry.issue(["b", "aa"]) == {"aa": 4, "b": 2}
    again = IdentityRegistry(tmp_path / "identity.sqlite")
    assert again.issue(["c"]) == {"c": 3}
    assert again.lookup(["c", "unknown"]) == {"c": 3}
    assert len(again) == 4


def test_ids_above_2_to_the_53_stay_different(tmp_path):
    registry = IdentityRegistry(tmp_path / "identity.sqlite")
    pair = [str(2**60), str(2**60 + 1)]
    assert len(set(registry.issue(pair).values())) == 2


def test_many_ids_fit_in_one_call(tmp_path):
    registry = IdentityRegistry(tmp_path / "identity.sqlite")
    ids = [f"{i:06d}" for i in range(20_000)]
    assert list(registry.issue(ids).values()) == list(range(1, 20_001))


def issue(job):
    path, start = job
    return IdentityRegistry(path).issue([str(i) for i in range(start, start + 300)])


def test_processes_share_one_registry(tmp_path):
    path = tmp_path / "identity.sqlite"
    IdentityRegistry(path)
    with ProcessPoolExecutor(2) as pool:
        answers = list(pool.map(issue, [(path, 0), (path, 150)]))
    merged = answers[0] | answers[1]
    assert sorted(merged.values()) == list(range(1, 451))
    assert all(answers[0][k] == answers[1][k] for k in answers[0].keys() & answers[1].keys())


def test_a_file_that_is_no_registry_is_a_storage_error(tmp_path):
    (tmp_path / "identity.sqlite").write_text("this is not a database, not at all" * 100)
    with pytest.raises(StorageError, match="cannot be used as identity registry"):
        IdentityRegistry(tmp_path / "identity.sqlite")


def test_used_up_numbers_are_an_error_and_issue_nothing(tmp_path):
    import sqlite3

    registry = IdentityRegistry(tmp_path / "identity.sqlite")
    with sqlite3.connect(tmp_path / "identity.sqlite") as connection:
        connection.execute("INSERT INTO identity VALUES (2147483646, 'last')")
    connection.close()
    with pytest.raises(StorageError, match="has issued all"):
        registry.issue(["one more"])
    assert len(registry) == 1


def test_adopted_numbers_are_kept_and_new_ones_go_on_above_them(tmp_path):
    registry = IdentityRegistry(tmp_path / "identity.sqlite")
    assert registry.adopt({"b": 7, "a": 3}) == 2
    assert registry.adopt({"b": 7, "a": 3}) == 0
    assert registry.issue(["a", "b", "c"]) == {"a": 3, "b": 7, "c": 8}


@pytest.mark.parametrize("numbers", [{"a": 5}, {"z": 3}, {"new": 9, "a": 5}])
def test_numbers_of_another_history_are_refused_and_nothing_changes(tmp_path, numbers):
    registry = IdentityRegistry(tmp_path / "identity.sqlite")
    registry.adopt({"b": 7, "a": 3})
    with pytest.raises(StorageError, match="has issued other numbers"):
        registry.adopt(numbers)
    assert len(registry) == 2
    assert registry.lookup(["a", "b", "new", "z"]) == {"a": 3, "b": 7}
