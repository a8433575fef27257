import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest

from citysplat_core.simulation.server import (
    RunningServer,
    ServerConfig,
    SyntheticScenes,
    SyntheticSpec,
    run_in_thread,
    synthetic_world,
)

BBOX = (8.538, 47.370, 8.542, 47.374)


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_args: object) -> None:
        return None


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Asker:
    """A client that is not ours, so that the server is not tested against itself."""

    server: RunningServer

    def get(self, path: str, query: dict[str, str] | None = None, **headers: str) -> Reply:
        address = path if path.startswith("http") else self.server.url + path
        address += "?" + urlencode(query) if query else ""
        return self._send(Request(address), headers)  # noqa: S310 - our own server

    def control(self, what: str, **values: Any) -> Any:
        address = f"{self.server.url}/_emu/{what}"
        request = Request(address, data=json.dumps(values).encode())  # noqa: S310 - our own server
        return self._send(request, {})

    def graph(self, path: str, **query: str) -> Reply:
        return self.get(path, query or None, Authorization=f"OAuth {self.token}")

    def tile(self, x: int, y: int, z: int = 14, name: str = "mly1_public") -> Reply:
        return self.get(f"/maps/vtp/{name}/2/{z}/{x}/{y}", {"access_token": self.token})

    @property
    def token(self) -> str:
        return self.server.state.config.token

    @property
    def ids(self) -> list[str]:
        return [str(i) for i in self.server.state.world.columns["image_id"]]

    def _send(self, request: Request, headers: dict[str, str]) -> Reply:
        from urllib.error import HTTPError

        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with build_opener(_NoRedirect).open(request, timeout=30) as answer:
                return Reply(answer.status, answer.headers, answer.read())
        except HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())


@pytest.fixture
def ask() -> Iterator[Asker]:
    world = synthetic_world(SyntheticSpec(n_images=400, bbox=BBOX))
    images = SyntheticScenes(size=(320, 240))
    with run_in_thread(world, ServerConfig(), images) as server:
        yield Asker(server)
