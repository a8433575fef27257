"""The graph host: entities, batches, sequences; its checks come in the service's own order."""

import contextlib
import json
from collections.abc import Collection, Iterable
from typing import Any

from aiohttp import web

from citysplat_core.simulation.server.detections import FIELDS as DETECTION_FIELDS
from citysplat_core.simulation.server.detections import detections_of
from citysplat_core.simulation.server.entities import KNOWN_FIELDS, entity
from citysplat_core.simulation.server.search import search_box, search_filtered
from citysplat_core.simulation.server.state import STATE, ServerState

_TOO_MUCH = "Please reduce the amount of data you're asking for, then retry your request"


class GraphRefusal(Exception):  # noqa: N818  # an answer, not a fault of ours
    """An error answer of the graph.

    Args:
        status: HTTP status.
        error: The ``error`` object, without its trace id.
    """

    def __init__(self, status: int, **error: Any) -> None:  # noqa: ANN401
        """Keep the answer."""
        super().__init__(str(error.get("message", "")))
        self.status = status
        self.error: dict[str, Any] = {"type": "MLYApiException", **error}


def too_much_data() -> GraphRefusal:
    """Return the refusal of a request that would answer too much."""
    return GraphRefusal(500, message=_TOO_MUCH, code=1, type="OAuthException")


def query_timeout() -> GraphRefusal:
    """Return the refusal of a query that took too long; it works when repeated."""
    return GraphRefusal(
        400,
        message="Timeout",
        type="OAuthException",
        code=-2,
        error_subcode=3404014,
        is_transient=False,
        error_user_title="Query Timeout",
    )


def bad_request(message: str) -> GraphRefusal:
    """Return the refusal of a request with a wrong parameter."""
    return GraphRefusal(400, message=message, code=100)


def no_such_object(image_id: str) -> GraphRefusal:
    """Return the refusal of an id that does not exist (any more)."""
    text = (
        f"Unsupported get request. Object with ID '{image_id}' does not exist, cannot be loaded "
        "due to missing permissions, or does not support this operation"
    )
    return GraphRefusal(400, message=text, code=100, error_subcode=33)


async def handle_graph(request: web.Request) -> web.StreamResponse:
    """Answer a graph request."""
    state = request.app[STATE]
    state.counters["graph"] += 1
    await state.wait_latency()
    headers: dict[str, str] = {}
    try:
        _check_token(state, request)
        _check_limit(state, request, headers)
        broken = await _broken(state, request, headers)
        return broken or _json(_route(state, request), headers=headers)
    except GraphRefusal as refusal:
        if state.config.graph_limit_format == "xml" and refusal.error.get("code") == 4:
            return web.Response(status=429, text="<Error>limit</Error>", content_type="text/xml")
        trace = "A" + f"{state.chance.getrandbits(88):022x}"
        body = {"error": {**refusal.error, "fbtrace_id": trace}}
        return _json(body, status=refusal.status, headers=headers)


async def _broken(
    state: ServerState, request: web.Request, headers: dict[str, str]
) -> web.StreamResponse | None:
    """Answer with a fault that is no error of the graph; None if there is none."""
    if state.fault("graph_302", request):
        return web.Response(status=302, headers={"Location": f"{state.base_url}/login/"})
    if state.fault("graph_html", request):
        return web.Response(text="<html>Log in</html>", content_type="text/html")
    if state.fault("graph_reset", request):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = 10_000
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await response.write(b'{"data":[')
        if request.transport is not None:
            request.transport.abort()
        return response
    if state.fault("graph_429", request):
        if state.config.graph_retry_after_s:
            headers["Retry-After"] = str(state.config.graph_retry_after_s)
        raise GraphRefusal(
            429, message="Application request limit reached", is_transient=True, code=4
        )
    return None


def _check_token(state: ServerState, request: web.Request) -> None:
    given = request.query.get("access_token", "")
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme in {"OAuth", "Bearer"}:
        given = value
    if given != state.config.token:
        state.counters["401"] += 1
        raise GraphRefusal(401, message="Invalid OAuth 2.0 Access Token", code=190, error_data={})


def _check_limit(state: ServerState, request: web.Request, headers: dict[str, str]) -> None:
    config = state.config
    searches = request.path.strip("/") in {"images", "map_features", "detections"}
    bucket = "search" if searches and "bbox" in request.query else "entity"
    if "image_ids" in request.query:
        bucket = config.batch_bucket
    limit = config.search_per_min if bucket == "search" else config.entity_per_min
    seen = state.windows.count(bucket, state.clock.now(), 60.0)
    percent = int(100 * seen / limit) if limit else 0
    usage = {config.usage_key: percent, "total_cputime": 0, "total_time": 0}
    headers["x-app-usage"] = json.dumps(usage)
    if limit and seen > limit:
        state.counters["graph_limited"] += 1
        if config.graph_retry_after_s:
            headers["Retry-After"] = str(config.graph_retry_after_s)
        raise GraphRefusal(
            config.graph_limit_status,
            message="Application request limit reached",
            is_transient=True,
            code=4,
        )


def _route(state: ServerState, request: web.Request) -> Any:  # noqa: ANN401
    if state.fault("graph_500", request):
        state.counters["graph_500"] += 1
        raise GraphRefusal(
            500,
            message="An unknown error has occurred.",
            type="OAuthException",
            is_transient=True,
            code=1,
        )
    path = request.path.strip("/")
    image_id, _, edge = path.partition("/")
    if edge == "detections":
        wanted = _fields(request, DETECTION_FIELDS)
        _live_row(state, image_id)
        return detections_of(state.images, image_id, wanted)
    wanted = _fields(request)
    if path == "images":
        return _images(state, request, wanted)
    if path == "image_ids":
        return _image_ids(state, request)
    if path in {"map_features", "detections"}:
        return {"data": []}
    if path == "":
        return _entities(state, request, wanted)
    return entity(state, _live_row(state, image_id), wanted)


def _fields(request: web.Request, known: Collection[str] = KNOWN_FIELDS) -> list[str]:
    names = [
        part.split(".")[0].split("{")[0] for part in request.query.get("fields", "id").split(",")
    ]
    for name in names:
        if name not in known:
            text = f"Tried accessing nonexisting field ({name}) on node type (MapillaryImage)"
            raise bad_request(text)
    return names


def _live_row(state: ServerState, image_id: str) -> int:
    _refuse_sick(state, [image_id])
    row = state.world.live_row(image_id)
    if row is None:
        state.counters["graph_missing"] += 1
        raise no_such_object(image_id)
    return row


def _refuse_sick(state: ServerState, ids: Iterable[str]) -> None:
    if set(ids) & set(state.config.sick_ids):
        raise GraphRefusal(
            500,
            message="An unknown error has occurred.",
            type="OAuthException",
            is_transient=True,
            code=2,
        )


def _entities(state: ServerState, request: web.Request, wanted: list[str]) -> dict[str, Any]:
    ids = [i for i in request.query.get("ids", "").split(",") if i]
    most = state.config.max_ids
    if not ids or len(ids) > most:
        raise bad_request(f"Too many IDs. Maximum: {most}. Provided: {len(ids)}.")
    state.counters["batch_ids"] += len(ids)
    answer = {}
    for image_id in ids:
        row = state.world.live_row(image_id)
        if row is not None:
            answer[image_id] = entity(state, row, wanted)
        elif state.config.ids_all_or_nothing:
            raise no_such_object(image_id)
    return answer


def _images(state: ServerState, request: web.Request, wanted: list[str]) -> dict[str, Any]:
    if "image_ids" in request.query:
        return {"data": [entity(state, row, wanted) for row in _batch(state, request)]}
    if "bbox" in request.query:
        rows, reason = search_box(state, request)
        if reason == "timeout":
            raise query_timeout()
        if reason == "too much":
            state.counters["reduce_data"] += 1
            raise too_much_data()
        if reason:
            raise bad_request(reason)
        return {"data": [entity(state, row, wanted) for row in rows]}
    found = search_filtered(state, request)
    if found is None:
        raise bad_request(
            "(#100) At least one of bbox, image_ids, sequence_ids, creator_username is required"
        )
    rows, paging = found
    return {"data": [entity(state, row, wanted) for row in rows], **paging}


def _batch(state: ServerState, request: web.Request) -> list[int]:
    ids = [i for i in request.query["image_ids"].split(",") if i]
    if len(ids) > state.config.max_ids:
        state.counters["reduce_data"] += 1
        raise too_much_data()
    state.counters["batch_ids"] += len(ids)
    _refuse_sick(state, ids)
    if state.fault("graph_timeout_400", request):
        raise query_timeout()
    rows = [row for row in (state.world.live_row(i) for i in ids) if row is not None]
    if rows and state.fault("graph_drop_id", request):
        rows.pop(state.chance.randrange(len(rows)))
    state.counters["graph_missing"] += len(ids) - len(rows)
    state.answered_ids.update(ids)
    return rows


def _image_ids(state: ServerState, request: web.Request) -> dict[str, Any]:
    sequence = request.query.get("sequence_id", "")
    rows = state.world.sequence_rows(sequence)
    if not rows:
        raise no_such_object(sequence)
    return {"data": [{"id": str(state.world.columns["image_id"][row])} for row in rows]}


def _json(value: object, *, status: int = 200, headers: dict[str, str]) -> web.Response:
    text = json.dumps(value, separators=(",", ":"))
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)
