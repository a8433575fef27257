"""One bucket of a real S3 server."""

import uuid

import pytest

from citysplat_core.errors import StorageError
from citysplat_core.storage import object_store, sha256_of
from citysplat_core.storage.object_store import ObjectStore

SECRET = "a-secret-that-nobody-may-print"  # noqa: S105 - that is what the tests look for


def open_store(server, **changes):
    values = {
        "endpoint_url": server.endpoint_url,
        "bucket": server.bucket,
        "key_id": server.key_id,
        "secret": server.secret,
        "prefix": uuid.uuid4().hex,
    }
    return ObjectStore(**{**values, **changes})


def test_bytes_come_back_as_they_were_put(s3_server):
    store = open_store(s3_server)
    store.put_bytes("a/b.json", b'{"a": 1}')
    assert store.get_bytes("a/b.json") == b'{"a": 1}'


def test_a_stored_file_reports_size_and_hash(s3_server, tmp_path):
    store, path = open_store(s3_server), tmp_path / "f"
    path.write_bytes(b"hello" * 1000)
    store.put_file("f", path, sha256=sha256_of(path))

    found = store.find("f")

    assert found is not None
    assert (found.size_bytes, found.sha256) == (5000, sha256_of(path))


def test_a_large_file_goes_in_parts_and_keeps_its_hash(s3_server, tmp_path, monkeypatch):
    monkeypatch.setattr(object_store, "SINGLE_PUT_BYTES", 1000)
    store, path = open_store(s3_server), tmp_path / "f"
    path.write_bytes(bytes(range(256)) * 40_000)  # 10 MB: two parts of 8 MiB at most
    store.put_file("f", path, sha256=sha256_of(path))

    found = store.find("f")

    assert found is not None
    assert (found.size_bytes, found.sha256) == (10_240_000, sha256_of(path))
    assert b"".join(store.chunks("f")) == path.read_bytes()


def test_what_is_not_there_is_none_and_cannot_be_read(s3_server):
    store = open_store(s3_server)
    assert store.find("nothing") is None
    with pytest.raises(FileNotFoundError, match="nothing"):
        store.get_bytes("nothing")


def test_keys_are_listed_below_the_prefix_only(s3_server):
    store = open_store(s3_server, prefix="/one/")
    open_store(s3_server, prefix="one-more").put_bytes("refs/x", b"")
    for name in ("refs/a/1", "refs/a/2", "objects/3"):
        store.put_bytes(name, b"")
    assert list(store.keys("refs/")) == ["refs/a/1", "refs/a/2"]
    assert list(store.keys()) == ["objects/3", "refs/a/1", "refs/a/2"]


@pytest.mark.parametrize(
    "changes", [{"key_id": "somebody-else", "secret": SECRET}, {"secret": SECRET}]
)
def test_a_wrong_key_is_one_clear_error_without_the_key(s3_server, changes):
    store = open_store(s3_server, **changes)
    for call in (
        lambda: store.find("x"),
        lambda: store.put_bytes("x", b""),
        lambda: list(store.keys()),
    ):
        with pytest.raises(StorageError, match="refused the access key") as caught:
            call()
        assert "CITYSPLAT_S3_KEY_ID" in str(caught.value)
        assert SECRET not in str(caught.value) + repr(store)


def test_a_missing_bucket_is_named(s3_server):
    store = open_store(s3_server, bucket="no-such-bucket")
    with pytest.raises(StorageError, match="no bucket 'no-such-bucket'"):
        list(store.keys())


def test_a_server_that_is_not_there_is_named(s3_server, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # do not wait between the tries
    store = open_store(s3_server, endpoint_url="http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"http://127.0.0.1:9.* does not answer"):
        store.find("x")


@pytest.mark.parametrize("missing", ["endpoint_url", "bucket", "key_id", "secret"])
def test_a_target_without_all_its_parts_is_refused(s3_server, missing):
    with pytest.raises(StorageError, match="no backup target"):
        open_store(s3_server, **{missing: ""})


def test_an_endpoint_that_is_no_address_is_refused(s3_server):
    with pytest.raises(StorageError, match=r"backup\.endpoint_url is 'b2'"):
        open_store(s3_server, endpoint_url="b2")


def test_a_file_that_is_not_what_it_should_be_is_not_sent(s3_server, tmp_path):
    store, path = open_store(s3_server), tmp_path / "f"
    path.write_bytes(b"rotten")
    with pytest.raises(StorageError, match=r"sha256 .* as its manifest says"):
        store.put_file("f", path, sha256="0" * 64)
    assert store.find("f") is None
