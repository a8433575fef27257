"""The search calls of the graph, with the ways in which they return too little."""

from datetime import datetime
from typing import Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from citysplat_core.simulation.server.state import ServerState


def search_box(state: ServerState, request: web.Request) -> tuple[list[int], str]:
    """Answer ``/images?bbox=``.

    Returns:
        The rows, and an empty reason; or no rows and why: ``timeout``, ``too much`` or the text
        of a refused parameter.
    """
    config = state.config
    try:
        west, south, east, north = (float(v) for v in request.query["bbox"].split(","))
    except ValueError:
        return [], "(#100) Param bbox must be left,bottom,right,top"
    width, height = east - west, north - south
    area = width * height if config.bbox_rule == "area" else max(width, height)
    if width <= 0 or height <= 0 or area > config.bbox_max_area:
        return [], "(#100) The bounding box must be smaller than 0.01 degrees square"
    if state.fault("graph_timeout_400", request):
        return [], "timeout"
    lon, lat = state.world.columns["lon"], state.world.columns["lat"]
    inside = (lon >= west) & (lon <= east) & (lat >= south) & (lat <= north)
    rows = np.flatnonzero(inside & state.world.alive & _filters(state, request))
    if len(rows) > config.search_density_gate:
        return [], "too much"
    limit = _limit(state, request)
    kept = _thinned(state, rows, (west, south, width, height), limit)
    return kept[:limit], ""


def search_filtered(
    state: ServerState, request: web.Request
) -> tuple[list[int], dict[str, Any]] | None:
    """Answer ``sequence_ids`` and ``creator_username``; None if neither is given."""
    limit = _limit(state, request)
    keep = _filters(state, request)
    if "sequence_ids" in request.query:
        names = request.query["sequence_ids"].split(",")
        rows = [row for name in names for row in state.world.sequence_rows(name) if keep[row]]
        return rows[:limit], {}
    if "creator_username" not in request.query:
        return None
    rows = [r for r in state.world.creator_rows(request.query["creator_username"]) if keep[r]]
    start = int(request.query.get("after", "0"))
    end = start + limit
    paging: dict[str, Any] = {}
    if end < len(rows):
        following = request.url.update_query(after=str(end))
        paging = {"paging": {"cursors": {"after": str(end)}, "next": str(following)}}
    return rows[start:end], paging


def _limit(state: ServerState, request: web.Request) -> int:
    most = state.config.search_limit_max
    asked = request.query.get("limit", "")
    return min(int(asked), most) if asked.isdigit() else most


def _filters(state: ServerState, request: web.Request) -> NDArray[np.bool_]:
    columns = state.world.columns
    keep = np.ones(len(columns["image_id"]), dtype=bool)
    query = request.query
    if "start_captured_at" in query:
        keep &= columns["captured_at"] >= _milliseconds(query["start_captured_at"])
    if "end_captured_at" in query:
        keep &= columns["captured_at"] <= _milliseconds(query["end_captured_at"])
    if "is_pano" in query:
        keep &= columns["is_pano"] == (query["is_pano"].lower() in {"true", "1"})
    if query.get("organization_id", "").isdigit():
        keep &= columns["organization_id"] == int(query["organization_id"])
    return keep


def _milliseconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000.0


def _thinned(
    state: ServerState,
    rows: NDArray[np.int64],
    box: tuple[float, float, float, float],
    limit: int,
) -> list[int]:
    """Keep the first rows of each cell, so that a dense box answers fewer than its limit."""
    cells = state.config.search_cells
    if cells == 0:
        return [int(row) for row in rows]
    west, south, width, height = box
    most = max(1, int(state.config.search_thin * limit / cells**2))
    columns = state.world.columns
    x = np.minimum(((columns["lon"][rows] - west) / width * cells).astype(int), cells - 1)
    y = np.minimum(((columns["lat"][rows] - south) / height * cells).astype(int), cells - 1)
    seen: dict[int, int] = {}
    kept = []
    for row, cell in zip(rows.tolist(), (y * cells + x).tolist(), strict=True):
        seen[cell] = seen.get(cell, 0) + 1
        if seen[cell] <= most:
            kept.append(int(row))
    return kept
