"""The photo host: signed addresses that expire, and every way a download can go wrong."""

import asyncio
import contextlib
import hashlib
import re

from aiohttp import web

from citysplat_core.simulation.server.state import STATE, ServerState

_STP = {"256": "s256x192", "1024": "s1024x768", "2048": "s2048x1536"}
_KEY = re.compile(r"An[0-9a-f]{38}_(\d+)_(256|1024|2048|original|sfm|mesh)")


def photo_url(state: ServerState, image_id: str, kind: str) -> str:
    """Return an address that works for ``url_ttl_s`` seconds of the server's clock."""
    expiry = f"{int(state.clock.now() + state.config.url_ttl_s):X}"
    key = hashlib.sha256(f"{image_id}{kind}".encode()).hexdigest()[:38]
    stp = f"stp={_STP[kind]}&" if kind in _STP else ""
    return (
        f"{state.base_url}/m1/v/t6/An{key}_{image_id}_{kind}?{stp}ccb=10-5"
        f"&oh={state.signature(image_id, kind, expiry)}&oe={expiry}&_nc_sid=201bca"
    )


async def handle_photo(request: web.Request) -> web.StreamResponse:
    """Answer a photo request."""
    state = request.app[STATE]
    state.counters["cdn"] += 1
    if "Authorization" in request.headers:
        state.counters["cdn_auth_leak"] += 1
    await state.wait_latency(cdn=True)
    match = _KEY.fullmatch(request.match_info["key"])
    expiry = request.query.get("oe", "")
    if match is None or not re.fullmatch("[0-9A-F]+", expiry):
        return web.Response(status=404, text="Not Found")
    image_id, kind = match.group(1), match.group(2)
    if request.query.get("oh") != state.signature(image_id, kind, expiry):
        return web.Response(status=403, text="URL signature mismatch")
    if state.clock.now() > int(expiry, 16):
        state.counters["cdn_expired"] += 1
        return web.Response(status=403, text="URL signature expired")
    if state.world.live_row(image_id) is None:
        return web.Response(status=404, text="Not Found")
    if kind in {"sfm", "mesh"}:
        return web.Response(body=b"", content_type="application/octet-stream")
    return await answer_photo(state, request, image_id, kind)


async def answer_photo(
    state: ServerState, request: web.Request, image_id: str, kind: str
) -> web.StreamResponse:
    """Answer with a live photo's bytes at an offered size, or with a fault that is due."""
    other = _other_answer(state, request)
    if other is not None:
        return other
    if state.fault("cdn_reset", request):
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)
    try:
        body = await state.darkroom.photo(image_id, kind)
    except FileNotFoundError:
        return web.Response(status=404, text="Not Found")
    if state.fault("cdn_slow", request):
        await asyncio.sleep(3.0)
    reset = state.fault("cdn_break", request)
    if reset or state.fault("cdn_short", request):
        return await _short(request, body, reset=reset)
    body = _damaged(state, request, body)
    state.counters["cdn_bytes"] += len(body)
    return _answer(request, body)


def _other_answer(state: ServerState, request: web.Request) -> web.Response | None:
    """Give the answer that comes in place of a photo, if such a fault is due."""
    if state.fault("cdn_500", request):
        return web.Response(status=503, text="Service Unavailable")
    if state.fault("cdn_429", request):
        state.counters["cdn_limited"] += 1
        return web.Response(status=429, text="Too Many Requests", headers={"Retry-After": "1"})
    if state.fault("cdn_html", request):
        return web.Response(text="<html>try later</html>", content_type="text/html")
    return None


def _damaged(state: ServerState, request: web.Request, body: bytes) -> bytes:
    if state.fault("cdn_truncate", request):
        state.counters["cdn_truncated"] += 1
        return body[: len(body) * 2 // 3]
    if state.fault("cdn_corrupt", request):
        middle = len(body) // 2
        return body[:middle] + bytes(200) + body[middle + 200 :]
    return body


async def _short(request: web.Request, body: bytes, *, reset: bool = False) -> web.StreamResponse:
    """Announce the whole photo, send half of it and hang up, or reset the connection."""
    response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
    response.content_length = len(body)
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):
        await response.write(body[: len(body) // 2])
    if request.transport is not None and reset:
        request.transport.abort()
    elif request.transport is not None:
        request.transport.close()
    return response


def _answer(request: web.Request, body: bytes) -> web.Response:
    headers = {
        "Content-Type": "image/jpeg",
        "Cache-Control": "max-age=1209600, no-transform",
        "Accept-Ranges": "bytes",
    }
    wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    if wanted and int(wanted.group(1)) < len(body):
        start = int(wanted.group(1))
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return web.Response(status=206, body=body[start:], headers=headers)
    return web.Response(body=body, headers=headers)
