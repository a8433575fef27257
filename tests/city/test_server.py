"""The small server."""

import urllib.error
import urllib.request

import pytest

from citysplat_core.city import make_server, serving
from citysplat_core.errors import ViewerError


@pytest.fixture
def folder(tmp_path):
    city = tmp_path / "city"
    (city / "splats").mkdir(parents=True)
    (city / "index.html").write_text("<title>t</title>")
    (city / "city.json").write_text("{}")
    (city / "splats" / "a.spz").write_bytes(b"\x1f\x8b123")
    (city / "worker.mjs").write_text("export {}")
    (tmp_path / "secret.txt").write_text("no")
    (city / "link.txt").symlink_to(tmp_path / "secret.txt")
    return city


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
        return answer.read(), answer.headers


def test_files_have_the_types_that_browsers_insist_on(folder):
    with serving(folder) as url:
        types = {
            name: get(url + name)[1]["Content-Type"]
            for name in ("", "city.json", "splats/a.spz", "worker.mjs")
        }
        assert get(url + "splats/a.spz")[0] == b"\x1f\x8b123"
        assert get(url + "city.json?v=2")[0] == b"{}"
    assert types == {
        "": "text/html",
        "city.json": "application/json",
        "splats/a.spz": "application/octet-stream",
        "worker.mjs": "text/javascript",
    }


@pytest.mark.parametrize(
    "path", ["../secret.txt", "%2e%2e/secret.txt", "splats/../../secret.txt", "link.txt", "splats/"]
)
def test_nothing_outside_the_folder_and_no_listing_is_served(folder, path):
    import http.client

    with serving(folder) as url:
        connection = http.client.HTTPConnection(url.split("/")[2], timeout=10)
        connection.request("GET", f"/{path}")
        answer = connection.getresponse()
        assert answer.status == 404
        assert answer.read() != b"no"
        connection.close()


def test_a_folder_without_a_city_is_refused(tmp_path):
    with pytest.raises(ViewerError, match=r"has no city\.json and index\.html"):
        make_server(tmp_path, 0)


def test_a_taken_port_is_said(folder):
    with serving(folder) as url:
        port = int(url.rstrip("/").rsplit(":", 1)[1])
        with pytest.raises(ViewerError, match=f"port {port} on 127.0.0.1 cannot be opened"):
            make_server(folder, port)
    with pytest.raises(ViewerError, match="port 99999"):
        make_server(folder, 99999)
