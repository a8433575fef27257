"""Cars that move: where they are when a photo is taken."""

import numpy as np

from citysplat_core.simulation.captures import Capture
from citysplat_core.simulation.furniture import CAR_LENGTH_M, car
from citysplat_core.simulation.solids import Solid
from citysplat_core.simulation.street_grid import LANE_M
from citysplat_core.simulation.town import Town

_SEEN_M = 70.0
_CLEAR_M = 1.8


def moving_cars(town: Town, capture: Capture) -> list[Solid]:
    """Place the cars that move in the streets around a photo.

    Each street has its cars for the time of a sequence; they keep their lane and speed.

    Args:
        town: The town.
        capture: The photo; its sequence decides the traffic and its time the places.
    """
    east, north, _ = (town.town_from_enu @ capture.centre).tolist()
    grid, solids = town.grid, []
    for along_x in (True, False):
        count = grid.n_north if along_x else grid.n_east
        for number in range(count):
            centre = grid.street_y(number) if along_x else grid.street_x(number)
            if abs((north if along_x else east) - centre) > _SEEN_M:
                continue
            place = (east, north) if along_x else (north, east)
            solids += _street_cars(
                town, capture, along_x=along_x, number=number, centre=centre, place=place
            )
    return solids


def _street_cars(
    town: Town,
    capture: Capture,
    *,
    along_x: bool,
    number: int,
    centre: float,
    place: tuple[float, float],
) -> list[Solid]:
    """Place the cars of one street; ``place`` is the camera's place along and across streets."""
    rng = np.random.default_rng([capture.sequence.seed, int(along_x), number])
    west, south, east, north = town.grid.bounds_m
    low, length = (west, east - west) if along_x else (south, north - south)
    solids = []
    for _ in range(int(rng.poisson(town.settings.moving_cars * length / 100.0))):
        forward = bool(rng.random() < 0.5)
        sign = 1.0 if forward else -1.0
        start, speed, seed = (
            rng.uniform(0, length),
            rng.uniform(6.0, 10.0),
            int(rng.integers(2**31)),
        )
        along = float((start + sign * speed * capture.elapsed_s) % length + low)
        lane = centre + (-sign if along_x else sign) * LANE_M  # one drives on the right
        apart = abs(along - place[0])
        beside = abs(lane - place[1]) < 1.0 + _CLEAR_M
        if apart > _SEEN_M or (apart < CAR_LENGTH_M / 2 + _CLEAR_M + 1.0 and beside):
            continue
        where = (along, lane) if along_x else (lane, along)
        solids += car(*where, along_x=along_x, forward=forward, seed=seed)
    return solids
