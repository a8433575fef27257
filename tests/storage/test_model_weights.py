"""Downloads of weights against a server that cuts, lies and forgets."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from citysplat_core.errors import ConfigError, StorageError
from citysplat_core.storage import no_progress
from citysplat_core.storage.model_weights import KNOWN_MODELS, ModelFile, fetch_model

BODY = bytes(range(256)) * 4000


class Host(ThreadingHTTPServer):
    """Serves one file; misbehaves as it is told."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.cuts: list[int] = []
        self.failures: list[int] = []
        self.knows_ranges = True
        self.ranges: list[str | None] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/models/net.bin?v=1"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.server
        asked = self.headers.get("Range")
        host.ranges.append(asked)
        if host.failures:
            self.send_error(host.failures.pop(0))
            return
        first = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked and host.knows_ranges else 0
        if first >= len(host.body):
            self.send_error(416)
            return
        rest = host.body[first:]
        self.send_response(206 if asked and host.knows_ranges else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: host.cuts.pop(0)] if host.cuts else rest)

    def log_message(self, *_args):
        pass


@pytest.fixture
def host():
    server = Host()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def model_of(host, **changes):
    values = {
        "name": "net",
        "url": host.url,
        "sha256": hashlib.sha256(BODY).hexdigest(),
        "licence": "Apache-2.0",
        "size_bytes": len(BODY),
    }
    return ModelFile(**{**values, **changes})


def fetch(model, folder, **settings):
    return fetch_model(model, folder, **{"progress": no_progress, "pause_s": 0.0, **settings})


def names_in(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_is_downloaded_once_and_verified(tmp_path, host):
    seen = []
    path = fetch(model_of(host), tmp_path / "models", progress=lambda *step: seen.append(step))
    assert path == tmp_path / "models" / "net.bin"
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY), "bytes of net")
    assert fetch(model_of(host), tmp_path / "models") == path
    assert len(host.ranges) == 1
    assert names_in(tmp_path / "models") == ["net.bin"]


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(tmp_path, host):
    host.cuts = [300_000, 200_000]
    assert fetch(model_of(host), tmp_path).read_bytes() == BODY
    assert host.ranges == [None, "bytes=300000-", "bytes=500000-"]


def test_a_later_call_goes_on_with_the_part_of_an_earlier_one(tmp_path, host):
    host.cuts = [200_000, 1, 1, 1, 1]
    with pytest.raises(StorageError, match=r"could not be downloaded.*connection ended early"):
        fetch(model_of(host), tmp_path)
    assert len(names_in(tmp_path)) == 1
    host.ranges.clear()
    assert fetch(model_of(host), tmp_path).read_bytes() == BODY
    assert host.ranges == ["bytes=200004-"]


def test_a_host_without_ranges_sends_everything_again(tmp_path, host):
    host.knows_ranges = False
    host.cuts = [300_000]
    assert fetch(model_of(host), tmp_path).read_bytes() == BODY


def test_a_file_with_another_hash_is_never_kept(tmp_path, host):
    host.body = b"x" * len(BODY)
    with pytest.raises(StorageError, match=r"has sha256 .* expected the file that was published"):
        fetch(model_of(host), tmp_path)
    assert names_in(tmp_path) == []


def test_a_file_that_is_shorter_than_published_is_never_kept(tmp_path, host):
    host.body = BODY[:1000]
    with pytest.raises(StorageError, match="model net"):
        fetch(model_of(host), tmp_path)
    assert "net.bin" not in names_in(tmp_path)


@pytest.mark.parametrize("rest", [b"rotten" * 10, BODY + b"too much"])
def test_a_part_that_does_not_fit_is_begun_again(tmp_path, host, rest):
    digest = hashlib.sha256(BODY).hexdigest()
    (tmp_path / f"net.bin.{digest[:12]}.part").write_bytes(rest)
    assert fetch(model_of(host), tmp_path).read_bytes() == BODY


def test_a_rotten_file_is_replaced(tmp_path, host):
    (tmp_path / "net.bin").write_bytes(b"rotten")
    assert fetch(model_of(host), tmp_path).read_bytes() == BODY


def test_a_busy_host_is_asked_again_and_an_absent_file_is_not(tmp_path, host):
    host.failures = [503, 500]
    assert fetch(model_of(host), tmp_path).read_bytes() == BODY
    host.failures = [404]
    host.ranges.clear()
    with pytest.raises(StorageError, match="the host answered 404"):
        fetch(model_of(host), tmp_path / "other")
    assert len(host.ranges) == 1


def test_a_size_that_nobody_published_is_no_hindrance(tmp_path, host):
    host.cuts = [10]
    assert fetch(model_of(host, size_bytes=None), tmp_path).read_bytes() == BODY


def test_an_offline_folder_is_used_instead_of_the_network(tmp_path, host):
    (tmp_path / "usb").mkdir()
    (tmp_path / "usb" / "net.bin").write_bytes(BODY)
    path = fetch(model_of(host), tmp_path / "models", offline=tmp_path / "usb")
    assert path.read_bytes() == BODY
    assert host.ranges == []


def test_an_offline_folder_without_the_file_says_where_to_get_it(tmp_path, host):
    with pytest.raises(StorageError, match=r"net\.bin does not exist and nothing may be.*http://"):
        fetch(model_of(host), tmp_path / "models", offline=tmp_path)
    assert host.ranges == []


def test_an_offline_file_with_another_hash_is_refused(tmp_path, host):
    (tmp_path / "net.bin").write_bytes(b"another")
    with pytest.raises(StorageError, match=r"net\.bin has sha256"):
        fetch(model_of(host), tmp_path / "models", offline=tmp_path)


def test_a_licence_against_commercial_use_is_refused_unless_it_is_allowed(tmp_path, host):
    model = model_of(host, licence="CC BY-NC-SA 4.0", is_commercial=False)
    with pytest.raises(ConfigError, match=r"licence 'CC BY-NC-SA 4\.0'.*allow_noncommercial"):
        fetch(model, tmp_path)
    assert host.ranges == []
    assert fetch(model, tmp_path, allow_noncommercial=True).read_bytes() == BODY


def test_a_host_that_is_not_there_is_named(tmp_path, host):
    model = model_of(host, url="http://127.0.0.1:9/net.bin")
    with pytest.raises(StorageError, match=r"could not be downloaded from http://127\.0\.0\.1:9"):
        fetch(model, tmp_path)


def test_an_address_that_is_no_web_address_is_refused(tmp_path, host):
    with pytest.raises(ConfigError, match="expected an http or https address"):
        fetch(model_of(host, url="file:///etc/passwd"), tmp_path)


def test_every_known_model_has_a_hash_and_a_licence():
    for name, model in KNOWN_MODELS.items():
        assert name == model.name
        assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
        assert model.licence
        assert model.url.startswith("https://")
