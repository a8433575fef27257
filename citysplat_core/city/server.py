"""A small server for a finished city: browsers do not load splats from ``file://``."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from citysplat_core.errors import ViewerError

log = logging.getLogger(__name__)


class _Handler(SimpleHTTPRequestHandler):
    """Serve files below one directory; nothing else, and no listings."""

    extensions_map = {  # noqa: RUF012 - as in the base class
        **SimpleHTTPRequestHandler.extensions_map,
        ".geojson": "application/geo+json",
        ".js": "text/javascript",
        ".json": "application/json",
        ".md": "text/plain; charset=utf-8",  # shown, not saved
        ".mjs": "text/javascript",
        ".spz": "application/octet-stream",
        ".wasm": "application/wasm",
    }
    protocol_version = "HTTP/1.1"
    server_version = "citysplat"
    sys_version = ""

    def translate_path(self, path: str) -> str:
        """Refuse whatever leads out of the directory, by ``..`` or by a link."""
        root = Path(self.directory).resolve()
        wanted = (root / unquote(urlsplit(path).path).lstrip("/")).resolve()
        if wanted != root and root not in wanted.parents:
            return str(root / "does-not-exist")
        # The base class tells folders by the trailing slash, which resolving removed.
        return str(wanted) + ("/" if urlsplit(path).path.endswith("/") else "")

    def list_directory(self, path: Any) -> None:  # noqa: ANN401
        """Answer "not found" instead of a listing."""
        del path
        self.send_error(HTTPStatus.NOT_FOUND, "No such file in this city")

    def end_headers(self) -> None:
        """Let a remade city show at once."""
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
        """Send the access log where all logs go."""
        log.debug(format, *args)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Say nothing of a browser that left before its answer was sent."""
        if isinstance(sys.exception(), ConnectionError):
            log.debug("%s went away", client_address)
            return
        super().handle_error(request, client_address)


def make_server(directory: Path, port: int, *, host: str = "127.0.0.1") -> ThreadingHTTPServer:
    """Bind a server to a city's folder without running it.

    Args:
        directory: A ``city_tiles`` folder.
        port: TCP port; 0 takes a free one (see ``server_port``).
        host: Address to listen on; the default is reached from this machine only.

    Returns:
        The server; call ``serve_forever``, then ``server_close``.

    Raises:
        ViewerError: The folder holds no city, or the port is taken.
    """
    if not (directory / "city.json").is_file() or not (directory / "index.html").is_file():
        raise ViewerError(
            f"{directory} has no city.json and index.html",
            expected="the folder of a finished city",
            fix="Run `citysplat run` first, or name the city's folder.",
        )
    try:
        return _Server((host, port), partial(_Handler, directory=str(directory)))
    except (OSError, OverflowError) as error:
        raise ViewerError(
            f"port {port} on {host} cannot be opened ({error})",
            expected="a free port",
            fix="Choose another one with --port, or 0 for any free one.",
        ) from error


def serve(directory: Path, port: int, *, host: str = "127.0.0.1") -> None:
    """Show a city until the process is interrupted.

    Args:
        directory: A ``city_tiles`` folder.
        port: TCP port.
        host: Address to listen on.

    Raises:
        ViewerError: The folder holds no city, or the port is taken.
    """
    server = make_server(directory, port, host=host)
    log.info("serving %s at http://%s:%d/", directory, host, server.server_port)
    try:
        server.serve_forever()
    finally:
        server.server_close()


@contextmanager
def serving(directory: Path, port: int = 0, *, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve a city in the background for as long as the block runs.

    Yields:
        The address, ``http://127.0.0.1:PORT/``.

    Raises:
        ViewerError: The folder holds no city, or the port is taken.
    """
    server = make_server(directory, port, host=host)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
