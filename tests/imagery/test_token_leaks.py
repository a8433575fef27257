"""A host that repeats the token in all it says does not make us repeat it."""

import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from citysplat_core.errors import CitySplatError
from citysplat_core.geography import Area
from citysplat_core.imagery import MapillarySource, PhotoStore, Token
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.imagery.source import PhotoRequest
from citysplat_core.imagery.tables import FOUND_SCHEMA, table_of
from citysplat_core.settings import SourceSettings
from citysplat_core.storage import no_progress

SECRET = "pr1vacyprobe0pr1vacyprobe0pr1vacy"  # noqa: S105
TOKEN = f"MLY|4711|{SECRET}"
IMPATIENT = Patience(
    tries=2, base_s=0.001, cap_s=0.001, limit_pause_s=0.001, max_pause_s=0.001, max_pauses=1
)
Reply = tuple[int, dict[str, str], bytes]


def error_body(code: int, **more: object) -> bytes:
    message = f"Invalid token {TOKEN} in ?access_token={quote(TOKEN, safe='')}"
    return json.dumps({"error": {"message": message, "code": code, **more}}).encode()


REPLIES: dict[str, Reply] = {
    "redirect": (302, {"Location": f"/login/?next={quote(TOKEN, safe='')}"}, b""),
    "login page": (200, {"Content-Type": "text/html"}, f"<a href='?t={TOKEN}'>".encode()),
    "refused token": (401, {"Content-Type": "application/json"}, error_body(190)),
    "wrong request": (400, {"Content-Type": "application/json"}, error_body(100)),
    "transient": (500, {"Content-Type": "application/json"}, error_body(2, is_transient=True)),
    "limit": (429, {"Content-Type": "application/json"}, error_body(4)),
    "no JSON": (200, {"Content-Type": "application/json"}, TOKEN.encode()),
    "bad status line": (0, {}, b""),
}


@pytest.fixture(params=REPLIES)
def parrot(request: pytest.FixtureRequest) -> Iterator[str]:
    """A host that answers everything with one reply; gives its address."""
    status, headers, body = REPLIES[request.param]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not status:
                self.wfile.write(f"HTTP/9 {TOKEN}\r\n\r\n".encode())
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def discover(source: MapillarySource, folder: Path) -> object:
    area = Area.from_bounds("8.546,47.371,8.547,47.372")
    return source.discover(area, work=folder / "work", refresh=False, progress=no_progress)


def describe(source: MapillarySource, folder: Path) -> object:
    found = table_of([{"image_id": str(n)} for n in range(1, 4)], FOUND_SCHEMA)
    table = source.describe(found, work=folder / "work", progress=no_progress)
    return table.to_pylist()


def fetch(source: MapillarySource, folder: Path) -> object:
    return source.fetch_photos(
        [PhotoRequest(image_id="1", photo_ref=None)],
        PhotoStore(folder / "photos"),
        size_px=1024,
        n_threads=1,
        progress=no_progress,
    )


@pytest.mark.parametrize("call", [discover, describe, fetch])
def test_a_host_that_repeats_the_token_makes_nobody_else_repeat_it(
    parrot: str,
    call: Callable[[MapillarySource, Path], object],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = SourceSettings(tiles_url=parrot, graph_url=parrot, tiles_per_min=60_000)
    source = MapillarySource(settings, Token(TOKEN), tmp_path, patience=IMPATIENT)
    said = []
    with caplog.at_level(logging.DEBUG):
        try:
            outcome = call(source, tmp_path)
            said.append(repr(outcome))
            stopped = getattr(outcome, "stopped", None)
            said += [str(stopped), repr(stopped)]
        except CitySplatError as error:
            said += [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
            chain: BaseException | None = error
            while chain is not None:  # also what `from None` hides from the traceback
                said += [str(chain), repr(chain.args)]
                chain = chain.__context__
    files = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert said
    assert SECRET not in "\n".join([*said, caplog.text])
    assert SECRET.encode() not in files
