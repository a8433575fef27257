"""Artifacts: whole or not there, made once, safe to kill at any point."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from citysplat_core.errors import MappingError, StorageError
from citysplat_core.storage import ArtifactStore, StepReport, sha256_of

BOX = "120220013203120"


def write_two_files(out: Path, work: Path) -> StepReport:
    del work
    (out / "deep").mkdir()
    (out / "deep" / "a.bin").write_bytes(b"a" * 10)
    (out / "b.txt").write_text("b")
    return StepReport(counts={"n": 2}, previews={"picture": out / "b.txt"})


def produce(root: Path, build=write_two_files, **changes):
    recipe = {"step_version": "1", "settings": {"s": 1}, "inputs": {"photos": "abc"}}
    return ArtifactStore(root).produce("splat", BOX, build=build, **{**recipe, **changes})


def looks_finished(root: Path) -> list[Path]:
    """Everything that could be mistaken for a whole artifact."""
    return [
        p
        for p in root.glob("artifacts/*/*/*")
        if p.name == "current" or (p.is_dir() and not p.name.startswith("."))
    ]


def test_a_finished_artifact_lists_its_files_recipe_and_cost(tmp_path):
    made = produce(tmp_path)
    assert made.was_made
    manifest = made.manifest
    assert manifest["files"] == {
        name: {"size": (made.path / name).stat().st_size, "sha256": sha256_of(made.path / name)}
        for name in ("b.txt", "deep/a.bin")
    }
    assert (manifest["asset"], manifest["partition"]) == ("splat", BOX)
    assert (manifest["settings"], manifest["inputs"]) == ({"s": 1}, {"photos": "abc"})
    assert manifest["fingerprint"] == made.fingerprint == made.path.name
    assert manifest["counts"] == {"n": 2}
    assert manifest["previews"] == {"picture": "b.txt"}
    assert manifest["peak_rss_mb"] > 1
    assert {"citysplat", "numpy", "pycolmap", "torch"} <= set(manifest["versions"])
    assert made.skipped == ""


def test_the_same_recipe_is_not_made_twice(tmp_path):
    first = produce(tmp_path)

    def never(out: Path, work: Path) -> StepReport:
        pytest.fail(f"was built again: {out} {work}")

    again = produce(tmp_path, never)
    assert not again.was_made
    assert again.path == first.path


@pytest.mark.parametrize(
    "changes",
    [{"settings": {"s": 2}}, {"settings": {}}, {"step_version": "2"}, {"inputs": {"photos": "x"}}],
)
def test_another_recipe_is_another_version_and_the_old_one_is_kept(tmp_path, changes):
    first = produce(tmp_path)
    second = produce(tmp_path, **changes)
    assert second.was_made
    assert second.path != first.path
    assert first.path.is_dir()
    found = ArtifactStore(tmp_path).need("splat", BOX)
    assert found.path == second.path


def test_the_order_of_settings_does_not_change_the_recipe(tmp_path):
    produce(tmp_path, settings={"a": 1, "b": [1, 2]})
    assert not produce(tmp_path, settings={"b": [1, 2], "a": 1}).was_made


def test_putting_a_setting_back_brings_the_old_version_back_without_work(tmp_path):
    first = produce(tmp_path)
    produce(tmp_path, settings={"s": 2})
    again = produce(tmp_path)
    assert not again.was_made
    assert ArtifactStore(tmp_path).need("splat", BOX).path == first.path


def test_old_versions_do_not_pile_up(tmp_path):
    for value in range(5):
        produce(tmp_path, settings={"s": value})
    home = ArtifactStore(tmp_path).home("splat", BOX)
    assert len([p for p in home.iterdir() if p.is_dir()]) == 2


def test_a_step_that_fails_leaves_the_old_version_in_force(tmp_path):
    first = produce(tmp_path)

    def fail(out: Path, work: Path) -> StepReport:
        (out / "half.bin").write_bytes(b"half")
        (work / "checkpoint").write_text("7")
        raise MappingError("no pair", expected="a pair", fix="Add photos.", box=BOX)

    with pytest.raises(MappingError, match=f"Box {BOX}: no pair"):
        produce(tmp_path, fail, settings={"s": 2})

    assert ArtifactStore(tmp_path).need("splat", BOX).path == first.path
    assert len(looks_finished(tmp_path)) == 2  # the old version and its pointer
    assert not list(tmp_path.rglob("*.part"))


def test_the_work_folder_outlives_a_failure_and_goes_with_success(tmp_path):
    seen = []

    def build(out: Path, work: Path) -> StepReport:
        seen.append((work / "checkpoint").exists())
        (work / "checkpoint").write_text("7")
        if len(seen) == 1:
            raise KeyboardInterrupt
        (out / "done").write_text("")
        return StepReport()

    with pytest.raises(KeyboardInterrupt):
        produce(tmp_path, build)
    produce(tmp_path, build)
    assert seen == [False, True]
    assert not any((tmp_path / "work").rglob("checkpoint"))


def test_a_skipped_step_is_a_whole_artifact_with_its_reason(tmp_path):
    made = produce(tmp_path, lambda _out, _work: StepReport(skipped="2 photos, needs 6"))
    assert ArtifactStore(tmp_path).need("splat", BOX).skipped == "2 photos, needs 6"
    assert made.manifest["files"] == {}


def test_what_was_never_made_is_none_or_an_error_that_names_the_command(tmp_path):
    store = ArtifactStore(tmp_path)
    assert store.find("splat", BOX) is None
    assert store.partitions("splat") == []
    with pytest.raises(StorageError, match=rf"Box {BOX}: there is no splat yet.*citysplat run"):
        store.need("splat", BOX)


def test_a_pointer_to_a_version_without_manifest_is_refused(tmp_path):
    made = produce(tmp_path)
    (made.path / "manifest.json").unlink()
    with pytest.raises(StorageError, match="which is not whole"):
        ArtifactStore(tmp_path).find("splat", BOX)


def test_a_version_without_manifest_is_made_again(tmp_path):
    made = produce(tmp_path)
    (made.path / "manifest.json").unlink()
    assert produce(tmp_path).was_made
    assert ArtifactStore(tmp_path).need("splat", BOX).counts == {"n": 2}


def test_partitions_are_those_with_a_version_in_force(tmp_path):
    store = ArtifactStore(tmp_path)
    for partition in ("b", "a", ""):
        store.produce(
            "splat", partition, step_version="1", settings={}, inputs={}, build=write_two_files
        )
    assert store.partitions("splat") == ["a", "b"]


CHILD = """
import os, sys, time
from pathlib import Path
from citysplat_core.storage import ArtifactStore, StepReport, artifact

root, point = Path(sys.argv[1]), sys.argv[2]

def stop_here(*_):
    (root / "reached").touch()
    time.sleep(600)

def build(out, work):
    (out / "big.bin").write_bytes(b"x" * 1_000_000)
    (work / "checkpoint").write_text("7")
    if point == "while building":
        stop_here()
    return StepReport(counts={"n": 1})

if point == "before the manifest":
    artifact.write_json = stop_here
if point == "between write and rename":
    Path.rename = stop_here
if point == "before the pointer":
    artifact.set_current = stop_here
ArtifactStore(root).produce("splat", "0123", step_version="1", settings={}, inputs={}, build=build)
"""


@pytest.mark.parametrize(
    ("point", "is_whole"),
    [
        ("while building", False),
        ("before the manifest", False),
        ("between write and rename", False),
        ("before the pointer", True),
    ],
)
def test_a_step_killed_at_any_point_leaves_nothing_half_that_looks_whole(tmp_path, point, is_whole):
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path), point])
    deadline = time.monotonic() + 60
    while not (tmp_path / "reached").exists():
        assert child.poll() is None, "the child ended before it reached the point"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()

    store = ArtifactStore(tmp_path)
    assert store.find("splat", "0123") is None
    assert len(looks_finished(tmp_path)) == (1 if is_whole else 0)

    def build(out: Path, work: Path) -> StepReport:
        assert (work / "checkpoint").read_text() == "7"  # unfinished work is still there
        (out / "big.bin").write_bytes(b"x" * 1_000_000)
        return StepReport(counts={"n": 2})

    again = store.produce("splat", "0123", step_version="1", settings={}, inputs={}, build=build)
    assert again.was_made is not is_whole
    assert store.need("splat", "0123").path == again.path
    assert not list(tmp_path.rglob("*.part"))


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 1 MiB, where the system lets us make one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],  # noqa: S607
            check=False,
            capture_output=True,
        ).returncode
    )
    if not mounted:
        pytest.skip("no right to mount a small file system; the next test covers the error path")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S607


def test_a_full_disk_is_one_clear_error_and_no_half_artifact(tiny_disk):
    first = produce(tiny_disk)

    def too_much(out: Path, work: Path) -> StepReport:
        del work
        (out / "big.bin").write_bytes(b"x" * 4_000_000)
        return StepReport()

    with pytest.raises(StorageError, match=r"the disk is full while writing .*Free some space"):
        produce(tiny_disk, too_much, settings={"s": 2})

    assert ArtifactStore(tiny_disk).need("splat", BOX).path == first.path
    assert not list(tiny_disk.rglob("*.part"))
    assert produce(tiny_disk, settings={"s": 2}).was_made  # and it goes on when there is space


def test_a_disk_that_fills_inside_a_step_is_the_same_error(tmp_path):
    def full(out: Path, work: Path) -> StepReport:
        del work
        (out / "half.bin").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="the disk is full"):
        produce(tmp_path, full)
    assert looks_finished(tmp_path) == []
    assert not list(tmp_path.rglob("*.part"))


def test_another_system_error_is_not_taken_for_a_full_disk(tmp_path):
    def forbidden(out: Path, work: Path) -> StepReport:
        del work
        raise PermissionError(errno.EACCES, "no", str(out))

    with pytest.raises(PermissionError):
        produce(tmp_path, forbidden)
    assert looks_finished(tmp_path) == []


def test_two_processes_make_the_same_artifact_once(tmp_path):
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from citysplat_core.storage import ArtifactStore, StepReport

        def build(out, work):
            time.sleep(1)
            (out / "a").write_text("a")
            return StepReport()

        made = ArtifactStore(Path(sys.argv[1])).produce(
            "splat", "0", step_version="1", settings={}, inputs={}, build=build)
        print(made.was_made)
    """)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = sorted(child.communicate(timeout=60)[0].strip() for child in both)
    assert said == ["False", "True"]


def test_the_manifest_is_plain_sorted_json(tmp_path):
    text = (produce(tmp_path).path / "manifest.json").read_text()
    value = json.loads(text)
    assert text == json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
