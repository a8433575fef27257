"""The tile host: limits, blocks and the vector tiles themselves."""

import gzip
import hashlib
from typing import Any
from urllib.parse import quote

import numpy as np
from aiohttp import web

from citysplat_core.simulation.server.mvt import EXTENT, Feature, PropertyValue, encode_tile
from citysplat_core.simulation.server.state import STATE, ServerState

_IMAGE_SETS = {"mly1_public": False, "mly1_computed_public": True}
_EMPTY_SETS = ("mly_map_feature_point", "mly_map_feature_traffic_sign")
_OVERVIEW_POINTS = 500


async def handle_tile(request: web.Request) -> web.StreamResponse:
    """Answer a tile request."""
    state = request.app[STATE]
    state.counters["tile"] += 1
    await state.wait_latency()
    refused = _refusal(state, request)
    if refused is not None:
        return refused
    place = _place(request)
    if place is None or state.fault("tile_404", request):
        return web.Response(status=404)
    fault = _fault(state, request)
    if fault is not None:
        return fault
    body = tile_bytes(state, *place)
    if state.fault("tile_cut", request):
        body = body[: len(body) * 2 // 3]
    return _answer(state, request, body)


def _fault(state: ServerState, request: web.Request) -> web.Response | None:
    """Return the answer of a scripted or random fault, if there is one this time."""
    if state.fault("tile_html", request):
        return web.Response(text="<html>log in</html>", content_type="text/html")
    if state.fault("tile_429", request):
        return _too_many(state)
    if state.fault("tile_302", request):
        return web.Response(status=302, headers={"Location": f"{state.base_url}/login/"})
    if state.fault("tile_garbage", request):
        return web.Response(body=b"\x1a\xff" * 40, content_type="application/x-protobuf")
    is_reset = state.fault("tile_reset", request)
    if is_reset and request.transport is not None:
        request.transport.abort()
    if is_reset or state.fault("tile_500", request):
        return web.Response(status=500, text="Internal Server Error")
    return None


def _too_many(state: ServerState) -> web.Response:
    told = state.config.tile_retry_after
    headers = {"Retry-After": told} if told else {}
    return web.Response(status=429, text="Too Many Requests", headers=headers)


async def handle_login(request: web.Request) -> web.Response:
    """Answer the page that a blocked client is sent to."""
    request.app[STATE].counters["login"] += 1
    return web.Response(text="<html><body>Log in</body></html>", content_type="text/html")


def _refusal(state: ServerState, request: web.Request) -> web.Response | None:
    config, now = state.config, state.clock.now()
    address = request.headers.get("X-Emu-Ip", request.remote or "")
    blocked = state.blocks.is_blocked(address, now, config.block_silence_s)
    if not blocked:
        blocked = state.blocks.count(
            address,
            now,
            per_min=config.tiles_ip_per_min,
            rolling=config.tiles_ip_rolling,
            window_s=config.tiles_ip_window_s,
        )
    if blocked:
        state.counters["tile_blocked"] += 1
        if config.block_status != 302:
            return web.Response(status=config.block_status, headers={"Retry-After": "60"})
        original = quote(f"{state.base_url}{request.path_qs}", safe="")
        login = f"{state.base_url}/login/?next={original}"
        return web.Response(status=302, headers={"Location": login})
    if request.query.get("access_token") != config.token:
        state.counters["tile_403"] += 1
        return web.Response(status=403, text="Forbidden")
    if config.tiles_per_day:
        seen = state.windows.count("tiles", now, 86_400.0)
        if seen > config.tiles_per_day:
            return _too_many(state)
    return None


def _place(request: web.Request) -> tuple[str, int, int, int] | None:
    name = request.match_info["set"]
    try:
        z, x, y = (int(request.match_info[k]) for k in ("z", "x", "y"))
    except ValueError:
        return None
    known = name in _IMAGE_SETS or name in _EMPTY_SETS
    if not known or not 0 <= z <= 14 or not (0 <= x < 2**z and 0 <= y < 2**z):
        return None
    return name, z, x, y


def _answer(state: ServerState, request: web.Request, body: bytes) -> web.Response:
    headers = {
        "Content-Type": "application/x-protobuf",
        "Cache-Control": "public, max-age=3600",
    }
    if state.config.tile_etag:
        tag = f'"{hashlib.sha256(body).hexdigest()[:40]}"'
        headers["ETag"] = tag
        if request.headers.get("If-None-Match") == tag:
            state.counters["tile_304"] += 1
            return web.Response(status=304, headers=headers)
    if not body:
        return web.Response(status=state.config.empty_tile_status, body=b"", headers=headers)
    if state.config.tile_gzip and "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        body = gzip.compress(body, 6, mtime=0)
    return web.Response(body=body, headers=headers)


def tile_bytes(state: ServerState, name: str, z: int, x: int, y: int) -> bytes:
    """Return the vector tile, uncompressed; empty bytes if it has no image."""
    if name in _EMPTY_SETS:
        return b""
    key = (name, z, x, y, state.world.revision)
    if key not in state.tile_cache:
        state.tile_cache[key] = _drawn(state, name, z, x, y)
    return state.tile_cache[key]


def _drawn(state: ServerState, name: str, z: int, x: int, y: int) -> bytes:
    world = state.world
    computed = _IMAGE_SETS[name]
    with np.errstate(invalid="ignore"):
        units = world.tile_units(computed=computed) * 2**z - np.array([x, y])
        pixels = np.floor(units * EXTENT)
        buffer = state.config.tile_buffer
        inside = ((pixels >= -buffer) & (pixels < EXTENT + buffer)).all(axis=1)
    rows = np.flatnonzero(inside & world.alive).tolist()
    if not rows:
        return b""
    at = {row: (int(pixels[row, 0]), int(pixels[row, 1])) for row in rows}
    if z < 6:
        step = -(-len(rows) // _OVERVIEW_POINTS)
        points = _image_features(state, rows[::step], at, 0, computed=computed, full=False)
        return encode_tile([("overview", points)])
    lines = _sequence_features(state, at)
    layers: list[tuple[str, list[Feature]]] = [("sequence", lines)]
    if z == 14:
        images = _image_features(state, rows, at, len(lines), computed=computed, full=True)
        layers.append(("image", images))
    return encode_tile(layers)


def _image_features(
    state: ServerState,
    rows: list[int],
    at: dict[int, tuple[int, int]],
    first_number: int,
    *,
    computed: bool,
    full: bool,
) -> list[Feature]:
    columns = state.world.columns
    compass = columns["computed_compass_angle" if computed else "compass_angle"]
    features = []
    for number, row in enumerate(rows, start=first_number):
        properties = _common(columns, row)
        image_id = int(columns["image_id"][row])
        properties["id"] = float(image_id) if state.config.ids_as_double else image_id
        properties["sequence_id"] = str(columns["sequence"][row])
        if full:
            if np.isfinite(compass[row]):
                properties["compass_angle"] = float(compass[row])
            if np.isfinite(columns["quality_score"][row]):
                properties["quality_score"] = round(float(columns["quality_score"][row]), 4)
            properties["foot"] = bool(columns["foot"][row])
        features.append(Feature(number=number, points=[at[row]], properties=properties))
    return features


def _sequence_features(state: ServerState, at: dict[int, tuple[int, int]]) -> list[Feature]:
    columns = state.world.columns
    features: list[Feature] = []
    for name in dict.fromkeys(str(columns["sequence"][row]) for row in at):
        rows = [row for row in state.world.sequence_rows(name) if row in at]
        if len(rows) < 2:
            continue
        properties = _common(columns, rows[0])
        properties["id"] = name
        properties["image_id"] = int(columns["image_id"][rows[0]])
        points = [at[row] for row in rows]
        features.append(Feature(number=len(features), points=points, properties=properties))
    return features


def _common(columns: dict[str, Any], row: int) -> dict[str, PropertyValue]:
    properties: dict[str, PropertyValue] = {
        "captured_at": int(columns["captured_at"][row]),
        "creator_id": int(columns["creator_id"][row]),
        "is_pano": bool(columns["is_pano"][row]),
    }
    organization = int(columns["organization_id"][row])
    if organization:
        properties["organization_id"] = organization
    return properties
