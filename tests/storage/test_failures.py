"""What failed last, until it succeeds."""

from citysplat_core.errors import MappingError
from citysplat_core.storage import clear_failure, read_failures, record_failure

ERROR = MappingError("3 photos", expected="6", fix="Add photos.", box="0123")


def test_a_failure_is_kept_until_it_is_cleared(tmp_path):
    assert read_failures(tmp_path) == []
    record_failure(tmp_path, "splat", "0123", ERROR)
    record_failure(tmp_path, "box_plan", "", ERROR)
    found = read_failures(tmp_path)
    assert [(f.asset, f.partition) for f in found] == [("box_plan", ""), ("splat", "0123")]
    assert found[1].message == "Box 0123: 3 photos; expected 6. Add photos."
    assert found[1].failed_at.endswith("+00:00")
    clear_failure(tmp_path, "splat", "0123")
    clear_failure(tmp_path, "splat", "0123")
    assert len(read_failures(tmp_path)) == 1


def test_a_later_failure_replaces_the_earlier(tmp_path):
    record_failure(tmp_path, "splat", "0123", ERROR)
    record_failure(tmp_path, "splat", "0123", ValueError())
    (found,) = read_failures(tmp_path)
    assert found.message == "ValueError"
