"""Files that appear whole or not at all."""

import errno

import pytest

from citysplat_core.errors import StorageError
from citysplat_core.storage import published, read_json, write_json


def test_a_crash_while_writing_keeps_the_old_file(tmp_path):
    target = tmp_path / "model.bin"
    target.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), published(target) as stream:  # noqa: PT012
        stream.write(b"half of the new")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["model.bin"]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "model.bin"
    target.write_bytes(b"old")
    with published(target) as stream:
        stream.write(b"new")
        stream.flush()
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"


def test_a_published_file_has_the_usual_mode(tmp_path):
    with published(tmp_path / "a") as stream:
        stream.write(b"a")
    (tmp_path / "b").write_bytes(b"b")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_full_disk_is_said_so(tmp_path):
    with pytest.raises(StorageError, match=r"the disk is full while writing .*a\.json"):  # noqa: PT012, SIM117
        with published(tmp_path / "a.json") as stream:
            stream.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_json_comes_back_sorted_and_exact(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [0.1, "ä"], "c": None})
    assert read_json(path) == {"a": [0.1, "ä"], "b": 1, "c": None}
    assert path.read_text().index('"a"') < path.read_text().index('"b"')


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []
