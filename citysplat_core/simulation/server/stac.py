"""Panoramax's API: search by box and by ids, single pictures and their files.

Modelled on version 2.15 of the instances' server: a search has no pages and is cut at its limit,
nearest to the middle of the box first. The catalogue of all instances has pages; ``stac_page``
turns them on.
"""

import json
from typing import Any

import numpy as np
from aiohttp import web

from citysplat_core.simulation.server.photos import answer_photo
from citysplat_core.simulation.server.stac_items import image_id_of, stac_item
from citysplat_core.simulation.server.state import STATE, ServerState

_JSON = "application/geo+json"
_KINDS = {"hd": "original", "sd": "2048", "thumb": "500"}


async def handle_search(request: web.Request) -> web.StreamResponse:
    """Answer ``/api/search``."""
    state = request.app[STATE]
    state.counters["stac"] += 1
    if "Authorization" in request.headers:
        state.counters["stac_auth_leak"] += 1
    await state.wait_latency()
    broken = _fault(state, request)
    if broken is not None:
        return broken
    try:
        rows, links = _found(state, request)
    except ValueError as error:
        return web.json_response({"status": 400, "message": str(error)}, status=400)
    items = [stac_item(state, row) for row in rows]
    state.counters["stac_items"] += len(items)
    body = json.dumps({"type": "FeatureCollection", "features": items, "links": links}).encode()
    if state.fault("stac_cut", request):
        body = body[: len(body) // 2]
    return web.Response(body=body, content_type=_JSON)


async def handle_picture(request: web.Request) -> web.StreamResponse:
    """Answer ``/api/pictures/{id}``: the item, or 404 for a picture that is not there."""
    state = request.app[STATE]
    state.counters["stac"] += 1
    await state.wait_latency()
    broken = _fault(state, request)
    if broken is not None:
        return broken
    row = _live_row(state, request.match_info["id"])
    if row is None:
        return web.json_response({"status": 404, "message": "Feature not found"}, status=404)
    return web.json_response(stac_item(state, row), content_type=_JSON)


async def handle_picture_file(request: web.Request) -> web.StreamResponse:
    """Answer with a picture's file, or with a redirect to it."""
    state = request.app[STATE]
    if state.config.stac_photo_redirect:
        place = "{id}/{kind}.jpg".format(**request.match_info)
        return web.Response(
            status=302, headers={"Location": f"{state.base_url}/api/storage/{place}"}
        )
    return await handle_stored_file(request)


async def handle_stored_file(request: web.Request) -> web.StreamResponse:
    """Answer with a picture's file."""
    state = request.app[STATE]
    state.counters["cdn"] += 1
    await state.wait_latency(cdn=True)
    kind = _KINDS.get(request.match_info["kind"])
    row = _live_row(state, request.match_info["id"])
    if kind is None or row is None:
        return web.Response(status=404, text="Not Found")
    return await answer_photo(state, request, str(state.world.columns["image_id"][row]), kind)


def _live_row(state: ServerState, text: str) -> int | None:
    image_id = image_id_of(text)
    return None if image_id is None else state.world.live_row(image_id)


def _fault(state: ServerState, request: web.Request) -> web.Response | None:
    config = state.config
    over = config.stac_per_min and (
        state.windows.count("stac", state.clock.now(), 60.0) > config.stac_per_min
    )
    if over or state.fault("stac_429", request):
        state.counters["stac_limited"] += 1
        wait = str(config.stac_retry_after_s)
        headers = {"Retry-After": wait} if config.stac_retry_after_s else {}
        return web.Response(status=429, text="Too Many Requests", headers=headers)
    if state.fault("stac_500", request):
        return web.json_response({"status": 500, "message": "Internal error"}, status=500)
    if state.fault("stac_html", request):
        return web.Response(text="<html>maintenance</html>", content_type="text/html")
    if state.fault("stac_reset", request):
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
    return None


def _found(state: ServerState, request: web.Request) -> tuple[list[int], list[dict[str, Any]]]:
    limit = _limit(state, request.query.get("limit") or "10")
    if "ids" in request.query:
        wanted = [_live_row(state, part) for part in _parts(request.query["ids"])]
        return [row for row in wanted if row is not None][:limit], []
    rows = _inside(state, request.query.get("bbox", ""))
    page = state.config.stac_page
    if not page:
        return rows[:limit], []
    start = int(request.query.get("token", "0"))
    end = start + min(limit, page)
    links = []
    if end < len(rows):
        links = [{"rel": "next", "href": str(request.url.update_query(token=str(end)))}]
    return rows[start:end], links


def _limit(state: ServerState, text: str) -> int:
    most = state.config.stac_limit_max
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise ValueError(f"Parameter limit must be either empty or a number between 1 and {most}")
    return int(text)


def _parts(text: str) -> list[str]:
    return [part.strip(" \"'") for part in text.strip("[]").split(",")]


def _inside(state: ServerState, text: str) -> list[int]:
    """Return the live rows in the closed box, nearest to its middle first."""
    try:
        west, south, east, north = (float(value) for value in _parts(text))
    except ValueError:
        raise ValueError("Parameter bbox must be in format [minX, minY, maxX, maxY]") from None
    lon, lat = state.world.columns["lon"], state.world.columns["lat"]
    inside = (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)
    rows = np.flatnonzero(inside & state.world.alive)
    away = np.hypot(lon[rows] - (west + east) / 2, lat[rows] - (south + north) / 2)
    return [int(row) for row in rows[np.argsort(away, kind="stable")]]
