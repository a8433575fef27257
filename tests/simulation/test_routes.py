from collections import Counter
from itertools import pairwise

import numpy as np

from citysplat_core.simulation import TownSettings
from citysplat_core.simulation.routes import _edges, _trails, drives, walks
from citysplat_core.simulation.street_grid import FACADE_M, street_grid


def _grid(n_photos=600):
    return street_grid(TownSettings(n_photos=n_photos))


def test_every_piece_of_street_is_driven_once_in_each_direction():
    grid = _grid()
    trails = _trails(np.random.default_rng(0), grid)
    driven = Counter(edge for trail in trails for edge in pairwise(trail))
    assert driven == Counter(_edges(grid))


def test_drives_turn_at_crossings():
    turns = [np.ptp(route.heading) for route in drives(np.random.default_rng(1), _grid())]
    assert sum(turn > np.radians(80) for turn in turns) >= len(turns) / 3


def test_no_route_runs_into_a_house():
    grid = _grid()
    rng = np.random.default_rng(2)
    for route in drives(rng, grid) + walks(rng, grid):
        off_x = np.abs((route.xy[:, 0] - grid.street_x(0) + 26) % 52 - 26)
        off_y = np.abs((route.xy[:, 1] - grid.street_y(0) + 26) % 52 - 26)
        assert np.minimum(off_x, off_y).max() < FACADE_M - 0.5


def test_routes_have_no_gaps():
    for route in drives(np.random.default_rng(3), _grid()):
        assert np.hypot(*np.diff(route.xy, axis=0).T).max() < 0.7
