"""Where people drive and walk: paths through the street grid that turn at crossings."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from citysplat_core.simulation.street_grid import FACADE_M, LANE_M, ROAD_HALF_M, StreetGrid

Kind = Literal["drive", "sideways", "walk"]
_STEP_M = 0.25
_TURN_M = 6.0
"""From where to where around a crossing a car turns, metres from its middle."""
_END_M = 2.0
"""How far from the edge of the area drives begin and end, metres."""
_PHOTO_TURN_DEG = 20.0
"""A turn of so much costs a photo, however short the way is."""

Node = tuple[int, int]
Edge = tuple[Node, Node]


@dataclass(frozen=True, slots=True)
class Route:
    """One drive or walk, finely sampled, in town metres.

    Attributes:
        kind: How the photos are taken.
        xy: Places, shape (N, 2).
        heading: Direction of travel, radians counter-clockwise from x, unwrapped, shape (N,).
        cost: Running need of photos in units of one spacing along the way, metres, shape (N,).
    """

    kind: Kind
    xy: NDArray[np.float64]
    heading: NDArray[np.float64]
    cost: NDArray[np.float64]


def _edges(grid: StreetGrid) -> list[Edge]:
    """List the one-way pieces of street; nodes outside the grid are the ends at the area's edge."""
    edges: list[Edge] = []
    for i in range(0 if grid.only_east else grid.n_east):
        for j in range(-1, grid.n_north):
            edges += [((i, j), (i, j + 1)), ((i, j + 1), (i, j))]
    for j in range(grid.n_north):
        for i in range(-1, grid.n_east):
            edges += [((i, j), (i + 1, j)), ((i + 1, j), (i, j))]
    return edges


def _trails(rng: np.random.Generator, grid: StreetGrid) -> list[list[Node]]:
    """Drive every piece of street once in each direction, in trails from edge to edge."""
    leaving: dict[Node, list[Node]] = {}
    for start, end in _edges(grid):
        leaving.setdefault(start, []).append(end)
    inside = {(i, j) for i in range(grid.n_east) for j in range(grid.n_north)}
    starts = sorted(node for node in leaving if node not in inside)
    order = rng.permutation(len(starts))
    trails = []
    for index in order:
        trail = [starts[index], leaving[starts[index]].pop()]
        while trail[-1] in inside:
            back, here = trail[-2], trail[-1]
            choices = [node for node in leaving[here] if node != back]
            if not choices:
                break  # only the way back is left; another trail starts here
            ahead = (2 * here[0] - back[0], 2 * here[1] - back[1])
            turning = [node for node in choices if node != ahead]
            turn = bool(turning) and (ahead not in choices or rng.random() < 0.55)
            chosen = turning[int(rng.integers(len(turning)))] if turn else ahead
            leaving[here].remove(chosen)
            trail.append(chosen)
        trails.append(trail)
    for start in sorted(leaving):  # pieces that no trail took
        while leaving[start]:
            trail = [start, leaving[start].pop()]
            while trail[-1] in inside and leaving[trail[-1]]:
                trail.append(leaving[trail[-1]].pop())
            trails.append(trail)
    return trails


def _place(grid: StreetGrid, node: Node) -> NDArray[np.float64]:
    """Give a node's place; ends are moved to just inside the area's edge."""
    west, south, east, north = grid.bounds_m
    x = float(np.clip(grid.street_x(node[0]), west + _END_M, east - _END_M))
    y = float(np.clip(grid.street_y(node[1]), south + _END_M, north - _END_M))
    return np.array([x, y])


def _lane_line(
    grid: StreetGrid, trail: list[Node], side_m: float, turn_m: float
) -> NDArray[np.float64]:
    """Follow a trail beside the centre line, with rounded turns at crossings."""
    places = [_place(grid, node) for node in trail]
    pieces: list[NDArray[np.float64]] = []
    for k in range(len(places) - 1):
        way = places[k + 1] - places[k]
        length = float(np.hypot(*way))
        ahead = way / length
        right = np.array([ahead[1], -ahead[0]]) * side_m
        first = places[k] + right + (ahead * turn_m if k > 0 else 0.0)
        last = places[k + 1] + right - (ahead * turn_m if k < len(places) - 2 else 0.0)
        n = max(2, int(np.hypot(*(last - first)) / _STEP_M))
        pieces.append(first + np.linspace(0, 1, n)[:, None] * (last - first))
    line = [pieces[0]]
    for before, after in pairwise(pieces):
        line += [_bend(before, after), after]
    return np.concatenate(line)


def _bend(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Join two pieces by a cubic that leaves and arrives along them."""
    start, end = before[-1], after[0]
    reach = 0.55 * float(np.hypot(*(end - start)))
    out = start + reach * (before[-1] - before[-2]) / float(np.hypot(*(before[-1] - before[-2])))
    into = end - reach * (after[1] - after[0]) / float(np.hypot(*(after[1] - after[0])))
    s = np.linspace(0, 1, 48)[1:-1, None]
    curve = (
        (1 - s) ** 3 * start + 3 * (1 - s) ** 2 * s * out + 3 * (1 - s) * s**2 * into + s**3 * end
    )
    return np.asarray(curve)


def _route(
    kind: Kind, xy: NDArray[np.float64], spacing_m: float, swing: NDArray[np.float64] | None = None
) -> Route:
    """Measure a line; ``swing`` turns the looks of people who walk away from their way."""
    step = np.diff(xy, axis=0)
    far = np.hypot(step[:, 0], step[:, 1])
    keep = np.concatenate([[True], far > 1e-6])
    xy = xy[keep]
    step = np.diff(xy, axis=0)
    heading = np.unwrap(np.arctan2(step[:, 1], step[:, 0]))
    heading = np.concatenate([heading, heading[-1:]])
    if swing is not None:
        heading = heading + np.interp(
            np.arange(len(xy)), np.linspace(0, len(xy) - 1, len(swing)), swing
        )
    turn = np.abs(np.diff(heading)) / np.radians(_PHOTO_TURN_DEG) * spacing_m
    each = np.maximum(np.hypot(step[:, 0], step[:, 1]), turn)
    return Route(kind, xy, heading, np.concatenate([[0.0], np.cumsum(each)]))


def drives(rng: np.random.Generator, grid: StreetGrid) -> list[Route]:
    """Drive every street in both directions; about half of the crossings are turned at."""
    return [
        _route("drive", _lane_line(grid, trail, LANE_M, _TURN_M), grid.spacing_m)
        for trail in _trails(rng, grid)
    ]


def sideways_drives(rng: np.random.Generator, grid: StreetGrid) -> list[Route]:
    """Drive each street once, in a random order, for cameras that look to the side."""
    trails: list[list[Node]] = [
        [(i, j) for j in range(-1, grid.n_north + 1)]
        for i in range(0 if grid.only_east else grid.n_east)
    ] + [[(i, j) for i in range(-1, grid.n_east + 1)] for j in range(grid.n_north)]
    chosen = [trails[k][:: 1 if rng.random() < 0.5 else -1] for k in rng.permutation(len(trails))]
    return [
        _route("sideways", _lane_line(grid, t, LANE_M, _TURN_M), grid.spacing_m) for t in chosen
    ]


def walks(rng: np.random.Generator, grid: StreetGrid) -> list[Route]:
    """Walk around the corners of crossings on the pavement, looking about."""
    crossings = [(i, j) for i in range(grid.n_east) for j in range(grid.n_north)]
    routes = []
    for k in rng.permutation(len(crossings)):
        i, j = crossings[k]
        middle = np.array([grid.street_x(i), grid.street_y(j)])
        corner = np.array(
            [1.0 if rng.random() < 0.5 else -1.0, 1.0 if rng.random() < 0.5 else -1.0]
        )
        pavement = 0.5 * (ROAD_HALF_M + FACADE_M) + 0.25
        far = grid.pitch_m / 2 - _END_M
        first = middle + corner * np.array([pavement, far])
        turn = middle + corner * np.array([pavement, pavement])
        last = middle + corner * np.array([far, pavement])
        stops = [turn, last] if grid.only_east else [first, turn, last]
        legs = stops[:: 1 if rng.random() < 0.5 else -1]
        line = np.concatenate(
            [
                a + np.linspace(0, 1, 90, endpoint=False)[:, None] * (b - a)
                for a, b in pairwise(legs)
            ]
        )
        near = np.minimum(np.hypot(*(line - turn).T) / 7.0, 1.0)
        away = np.radians(18 * rng.standard_normal()) * np.sin(np.linspace(0, 9, len(line)))
        line = _smooth(line)
        routes.append(_route("walk", line, grid.spacing_m, away * near))
    return routes


def _smooth(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round the corner of a walk over about two metres."""
    width = 9
    padded = np.concatenate([np.repeat(line[:1], width, 0), line, np.repeat(line[-1:], width, 0)])
    window = np.ones(2 * width + 1) / (2 * width + 1)
    return np.stack([np.convolve(padded[:, axis], window, "valid") for axis in (0, 1)], axis=1)
