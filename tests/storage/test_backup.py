"""Backup and restore against a real S3 server."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import boto3
import pytest

from citysplat_core.errors import StorageError
from citysplat_core.storage import Artifact, ArtifactStore, StepReport
from citysplat_core.storage.backup import backup_artifacts, list_backups
from citysplat_core.storage.object_store import ObjectStore
from citysplat_core.storage.restore import restore_artifacts

BOX = "120220013203120"


def make_artifact(
    root: Path, asset: str = "splat", partition: str = BOX, n_files: int = 5
) -> Artifact:
    def build(out: Path, work: Path) -> StepReport:
        del work
        (out / "renders").mkdir()
        (out / "splat.ply").write_bytes(os.urandom(70_000))
        (out / "empty.bin").write_bytes(b"")
        for i in range(n_files):
            (out / "renders" / f"{i} ä.jpg").write_bytes(f"{partition} {i}".encode() * 100)
        return StepReport(counts={"files": n_files})

    return ArtifactStore(root).produce(
        asset, partition, step_version="1", settings={"a": 1}, inputs={}, build=build
    )


def tree(path: Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


@pytest.fixture
def store(s3_server):
    """A prefix of its own for each test."""
    return ObjectStore(
        endpoint_url=s3_server.endpoint_url,
        bucket=s3_server.bucket,
        key_id=s3_server.key_id,
        secret=s3_server.secret,
        prefix=f"backups/{uuid.uuid4().hex}/",
    )


@pytest.fixture
def raw_client(s3_server):
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=s3_server.key_id,
        aws_secret_access_key=s3_server.secret,
    )
    yield client
    client.close()


def test_a_restored_artifact_is_byte_identical_and_in_force(store, tmp_path):
    made = make_artifact(tmp_path / "here")
    backup_artifacts([made], store, read_back=True)

    elsewhere = ArtifactStore(tmp_path / "there")
    counts = restore_artifacts(list_backups(store), store, elsewhere)

    back = elsewhere.need("splat", BOX)
    assert back.path.name == made.path.name
    assert tree(back.path) == tree(made.path)
    assert back.manifest == made.manifest
    assert (counts.artifacts, counts.objects_moved) == (1, len(tree(made.path)))
    assert not list(back.path.parent.glob(".*.part"))


def test_a_restored_artifact_is_not_made_again(store, tmp_path):
    backup_artifacts([make_artifact(tmp_path / "here")], store)
    restore_artifacts(list_backups(store), store, ArtifactStore(tmp_path / "there"))

    again = make_artifact(tmp_path / "there")

    assert not again.was_made


def test_a_second_backup_sends_nothing(store, tmp_path):
    made = make_artifact(tmp_path)
    first = backup_artifacts([made], store)
    second = backup_artifacts([made], store)

    assert first.objects_moved == len(
        {hashlib.sha256(b).digest() for b in tree(made.path).values()}
    )
    assert first.artifacts_present == 0
    assert (second.objects_moved, second.bytes_moved, second.artifacts_present) == (0, 0, 1)
    assert second.objects_present == first.objects_moved


def test_files_that_two_artifacts_share_are_sent_once(store, tmp_path):
    def build(out: Path, work: Path) -> StepReport:
        del work
        (out / "same.bin").write_bytes(b"same" * 1000)
        return StepReport()

    root = ArtifactStore(tmp_path)
    both = [
        root.produce("box_images", box, step_version="1", settings={}, inputs={}, build=build)
        for box in (BOX, BOX[:-1] + "1")
    ]
    counts = backup_artifacts(both, store)

    assert counts.objects_moved == 3  # one photo, two manifests
    assert counts.objects_present == 1


def test_a_city_wide_artifact_has_its_own_ref(store, tmp_path):
    backup_artifacts([make_artifact(tmp_path, "city_alignment", "")], store)

    assert list(store.keys("refs/")) == ["refs/city_alignment/_.json"]
    assert [(r.asset, r.partition) for r in list_backups(store)] == [("city_alignment", "")]


def test_a_newer_version_replaces_the_ref_and_keeps_the_objects(store, tmp_path):
    old = make_artifact(tmp_path / "a", n_files=2)
    new = make_artifact(tmp_path / "b", n_files=3)
    backup_artifacts([old], store)
    backup_artifacts([new], store)

    (ref,) = list_backups(store)
    assert ref.n_files == len(tree(new.path))
    assert len(list(store.keys("manifests/"))) == 2


def corrupt(raw_client, store: ObjectStore, data: bytes, claim: str) -> str:
    key = f"objects/{claim[:2]}/{claim}"
    raw_client.put_object(
        Bucket=store.bucket, Key=store.prefix + key, Body=data, Metadata={"sha256": claim}
    )
    return key


def test_a_corrupted_object_is_refused_and_nothing_is_left(store, raw_client, tmp_path):
    made = make_artifact(tmp_path / "here")
    backup_artifacts([made], store)
    entry = made.manifest["files"]["splat.ply"]
    corrupt(raw_client, store, b"x" * entry["size"], entry["sha256"])

    elsewhere = ArtifactStore(tmp_path / "there")
    with pytest.raises(StorageError, match=r"objects/.* in the bucket is corrupted"):
        restore_artifacts(list_backups(store), store, elsewhere)

    assert elsewhere.find("splat", BOX) is None
    assert [p.name for p in elsewhere.home("splat", BOX).iterdir() if p.name != ".lock"] == []


def test_reading_back_finds_a_corrupted_object_that_metadata_hides(store, raw_client, tmp_path):
    made = make_artifact(tmp_path)
    backup_artifacts([made], store)
    entry = made.manifest["files"]["splat.ply"]
    corrupt(raw_client, store, b"x" * entry["size"], entry["sha256"])

    backup_artifacts([made], store)  # the metadata still looks right
    with pytest.raises(StorageError, match="is corrupted"):
        backup_artifacts([made], store, read_back=True)


def test_an_object_of_the_wrong_size_is_sent_again(store, raw_client, tmp_path):
    made = make_artifact(tmp_path)
    backup_artifacts([made], store)
    entry = made.manifest["files"]["splat.ply"]
    corrupt(raw_client, store, b"short", entry["sha256"])

    counts = backup_artifacts([made], store, read_back=True)

    assert counts.objects_moved == 1


def test_a_lost_object_is_named(store, raw_client, tmp_path):
    made = make_artifact(tmp_path / "here")
    backup_artifacts([made], store)
    sha256 = made.manifest["files"]["splat.ply"]["sha256"]
    raw_client.delete_object(
        Bucket=store.bucket, Key=f"{store.prefix}objects/{sha256[:2]}/{sha256}"
    )

    with pytest.raises(StorageError, match=f"has no objects/{sha256[:2]}/{sha256}"):
        restore_artifacts(list_backups(store), store, ArtifactStore(tmp_path / "there"))


def test_a_file_changed_on_disk_is_not_backed_up(store, tmp_path):
    made = make_artifact(tmp_path)
    (made.path / "splat.ply").write_bytes(b"rotten")

    with pytest.raises(StorageError, match=r"splat.ply has sha256 .* as its manifest says"):
        backup_artifacts([made], store)
    assert list_backups(store) == []


def test_a_file_missing_on_disk_is_not_backed_up(store, tmp_path):
    made = make_artifact(tmp_path)
    (made.path / "splat.ply").unlink()

    with pytest.raises(StorageError, match=r"splat.ply is missing"):
        backup_artifacts([made], store)
    assert list_backups(store) == []


def test_restoring_over_a_whole_version_fetches_nothing(store, tmp_path):
    made = make_artifact(tmp_path)
    backup_artifacts([made], store)

    counts = restore_artifacts(list_backups(store), store, ArtifactStore(tmp_path))

    assert (counts.objects_moved, counts.artifacts_present) == (0, 1)


def test_restoring_over_a_damaged_version_replaces_it(store, tmp_path):
    made = make_artifact(tmp_path)
    before = tree(made.path)
    backup_artifacts([made], store)
    (made.path / "splat.ply").write_bytes(b"rotten")
    (made.path / "manifest.json").unlink()

    restore_artifacts(list_backups(store), store, ArtifactStore(tmp_path))

    assert tree(made.path) == before


@pytest.mark.parametrize(
    "manifest",
    [
        {"../../outside": {"sha256": "0" * 64, "size": 1}},
        {"/etc/outside": {"sha256": "0" * 64, "size": 1}},
    ],
)
def test_a_manifest_cannot_write_outside_its_artifact(store, tmp_path, manifest):
    files = {"manifest.json": {"sha256": "0" * 64, "size": 1}, **manifest}
    text = json.dumps({"version": 1, "files": files}).encode()
    digest = hashlib.sha256(text).hexdigest()
    store.put_bytes(f"manifests/{digest}.json", text)
    put_ref(store, digest=digest)

    with pytest.raises(StorageError, match="outside"):
        restore_artifacts(list_backups(store), store, ArtifactStore(tmp_path))


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden"])
def test_a_ref_with_an_unsafe_name_is_refused(store, name):
    put_ref(store, asset=name)
    with pytest.raises(StorageError, match="not one of ours"):
        list_backups(store)


def test_a_ref_that_is_not_json_is_refused(store):
    store.put_bytes("refs/splat/x.json", b"hello")
    with pytest.raises(StorageError, match=r"refs/splat/x.json in the bucket is not one of ours"):
        list_backups(store)


def put_ref(store: ObjectStore, **changes: object) -> None:
    ref = {
        "version": 1,
        "asset": "splat",
        "partition": BOX,
        "fingerprint": "0" * 16,
        "digest": "0" * 64,
        "n_files": 1,
        "size_bytes": 1,
    }
    store.put_bytes("refs/splat/x.json", json.dumps({**ref, **changes}).encode())


def test_a_backup_killed_halfway_leaves_no_ref(store, s3_server, tmp_path):
    made = make_artifact(tmp_path, n_files=400)
    program = textwrap.dedent(f"""
        from pathlib import Path
        from citysplat_core.storage import ArtifactStore
        from citysplat_core.storage.backup import backup_artifacts
        from citysplat_core.storage.object_store import ObjectStore
        store = ObjectStore(endpoint_url={s3_server.endpoint_url!r}, bucket={s3_server.bucket!r},
            key_id={s3_server.key_id!r}, secret={s3_server.secret!r}, prefix={store.prefix!r})
        made = ArtifactStore(Path({str(tmp_path)!r})).need("splat", {BOX!r})
        backup_artifacts([made], store, n_threads=1)
    """)
    child = subprocess.Popen([sys.executable, "-c", program])
    deadline = time.monotonic() + 120
    while sum(1 for _ in store.keys("objects/")) < 3:
        assert child.poll() is None, "the backup ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()

    assert list(store.keys("refs/")) == []
    stored = sum(1 for _ in store.keys("objects/"))
    again = backup_artifacts([made], store, read_back=True)
    assert again.objects_present == stored  # what was sent before the kill is not sent again
    assert again.objects_moved > 0
    assert len(list_backups(store)) == 1
