"""Control calls under ``/_emu/``: settings, clock, uploads, deletions, faults, counters."""

import json
from dataclasses import replace
from typing import Any

from aiohttp import web

from citysplat_core.simulation.server.state import (
    FAULT_KINDS,
    STATE,
    ScriptedFault,
    ServerState,
)
from citysplat_core.simulation.server.synthetic_world import SyntheticSpec, synthetic_columns

_DAY_MS = 86_400_000


async def handle_control(request: web.Request) -> web.Response:
    """Answer a control call; a mistake in it is 400 with the reason as text."""
    state = request.app[STATE]
    actions = {
        "config": _config,
        "clock": _clock,
        "add": _add,
        "delete": _delete,
        "unblock": _unblock,
        "script": _script,
        "stats": _stats,
    }
    action = actions.get(request.match_info["what"])
    if action is None:
        return web.Response(status=404, text=f"known: {', '.join(actions)}")
    try:
        body: dict[str, Any] = json.loads(await request.read() or b"{}")
        return web.json_response(action(state, body))
    except (ValueError, KeyError, TypeError) as error:
        return web.Response(status=400, text=f"{type(error).__name__}: {error}")


def _config(state: ServerState, body: dict[str, Any]) -> dict[str, Any]:
    state.config.change(body)
    state.reset_limits()
    state.tile_cache.clear()
    return {"changed": sorted(body)}


def _clock(state: ServerState, body: dict[str, Any]) -> dict[str, Any]:
    return {"now": state.clock.advance(float(body["advance_s"]))}


def _add(state: ServerState, body: dict[str, Any]) -> dict[str, Any]:
    after = int(body.get("after_ms", state.clock.now() * 1000))
    columns = state.world.columns
    bounds = [float(v) for v in (columns["lon"].min(), columns["lat"].min())]
    bounds += [float(v) for v in (columns["lon"].max(), columns["lat"].max())]
    spec = replace(
        SyntheticSpec(seed=int(body.get("seed", 1)), n_images=int(body["n"])),
        bbox=(bounds[0], bounds[1], bounds[2], bounds[3]),
        captured_from_ms=after,
        captured_until_ms=after + _DAY_MS,
    )
    added = synthetic_columns(spec, taken=frozenset(state.world.row_of))
    return {"ids": state.world.add(added)}


def _delete(state: ServerState, body: dict[str, Any]) -> dict[str, Any]:
    return {"deleted": state.world.delete([str(i) for i in body["ids"]])}


def _unblock(state: ServerState, body: dict[str, Any]) -> dict[str, Any]:
    del body
    state.reset_limits()
    return {}


def _script(state: ServerState, body: dict[str, Any]) -> dict[str, Any]:
    if body["kind"] not in FAULT_KINDS:
        raise ValueError(f"unknown fault {body['kind']!r}; known: {', '.join(FAULT_KINDS)}")
    fault = ScriptedFault(
        kind=body["kind"], match=str(body.get("match", "")), times=int(body.get("times", 1))
    )
    state.scripts.append(fault)
    return {"scripts": len(state.scripts)}


def _stats(state: ServerState, body: dict[str, Any]) -> dict[str, Any]:
    del body
    return state.stats()
