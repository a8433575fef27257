"""The web application: one port for tiles, graph, photos, Panoramax's API and control."""

from aiohttp import web
from aiohttp.typedefs import Handler

from citysplat_core.simulation.server.control import handle_control
from citysplat_core.simulation.server.graph import handle_graph
from citysplat_core.simulation.server.photos import handle_photo
from citysplat_core.simulation.server.stac import (
    handle_picture,
    handle_picture_file,
    handle_search,
    handle_stored_file,
)
from citysplat_core.simulation.server.state import STATE, ServerState
from citysplat_core.simulation.server.tiles import handle_login, handle_tile


def build_application(state: ServerState) -> web.Application:
    """Return the application that serves a state."""
    app = web.Application(middlewares=[_count_in_flight])
    app[STATE] = state
    app.on_cleanup.append(_close_darkroom)
    tile = "/maps/vtp/{set}/2/{z}/{x}/{y}"
    app.add_routes(
        [
            web.route("*", "/_emu/{what}", handle_control),
            web.get("/login/", handle_login),
            web.get(tile, handle_tile),
            web.get(tile + "/", handle_tile),
            web.get("/m1/v/t6/{key}", handle_photo),
            web.get("/api/search", handle_search),
            web.get("/api/pictures/{id}", handle_picture),
            web.get("/api/pictures/{id}/{kind}.jpg", handle_picture_file),
            web.get("/api/storage/{id}/{kind}.jpg", handle_stored_file),
            web.get("/{path:.*}", handle_graph),
        ]
    )
    return app


async def _close_darkroom(app: web.Application) -> None:
    app[STATE].darkroom.close()


@web.middleware
async def _count_in_flight(request: web.Request, handler: Handler) -> web.StreamResponse:
    state = request.app[STATE]
    host = _host_of(request.path)
    state.in_flight[host] += 1
    most = f"max_in_flight_{host}"
    state.counters[most] = max(state.counters[most], state.in_flight[host])
    try:
        return await handler(request)
    finally:
        state.in_flight[host] -= 1


def _host_of(path: str) -> str:
    if path.startswith("/maps/vtp/"):
        return "tiles"
    if path.startswith(("/m1/", "/api/pictures/", "/api/storage/")):
        return "cdn"
    if path.startswith("/api/"):
        return "stac"
    return "control" if path.startswith("/_emu/") else "graph"
