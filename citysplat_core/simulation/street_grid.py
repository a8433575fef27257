"""Where the streets of a town run, and how much of it is driven."""

import math
from dataclasses import dataclass

from citysplat_core.simulation.town_settings import TownSettings

ROAD_HALF_M = 4.6
"""Half the width of the carriageway: a lane of 2.9 m and a parking strip of 1.7 m on each side."""
FACADE_M = 7.2
"""Distance of the houses' fronts from the street's centre line."""
LANE_M = 1.45
"""Distance of a lane's middle from the street's centre line."""
KERB_M = 0.12
"""Height of the pavement above the road."""
_FEW_PHOTOS = 90
"""Below this many photos a town is one street of two blocks."""


@dataclass(frozen=True, slots=True)
class StreetGrid:
    """Streets on a regular grid in town metres (x along the town's east, y along its north).

    The origin is always a corner of four blocks' middles, half a block from the nearest streets, so
    that map tiles that meet there have their streets in the middle.

    North-south streets have their centre lines at ``street_x(i)``, east-west ones at
    ``street_y(j)``; those with 0 <= i < n_east and 0 <= j < n_north are driven. Around the driven
    area lies one more ring of streets and houses, so that views out of the area end in a town.

    Attributes:
        pitch_m: Distance between neighbouring centre lines, metres.
        n_east: Driven north-south streets, counted from west to east.
        n_north: Driven east-west streets, counted from south to north.
        spacing_m: Distance between photos that uses up the wished number, metres.
        only_east: Only the east-west streets are driven (towns of few photos).
    """

    pitch_m: float
    n_east: int
    n_north: int
    spacing_m: float
    only_east: bool = False

    def street_x(self, i: int) -> float:
        """Give the centre line of the i-th north-south street, metres."""
        return (i - self.n_east // 2 + 0.5) * self.pitch_m

    def street_y(self, j: int) -> float:
        """Give the centre line of the j-th east-west street, metres."""
        return (j - self.n_north // 2 + 0.5) * self.pitch_m

    @property
    def bounds_m(self) -> tuple[float, float, float, float]:
        """West, south, east and north edge, metres: half a block off the outer streets."""
        half = self.pitch_m / 2
        return (
            self.street_x(0) - half,
            self.street_y(0) - half,
            self.street_x(self.n_east - 1) + half,
            self.street_y(self.n_north - 1) + half,
        )


def street_grid(settings: TownSettings) -> StreetGrid:
    """Choose how many streets are driven so that the photos lie about ``spacing_m`` apart.

    Args:
        settings: The town; ``n_streets_east`` and ``n_streets_north`` win when they are given.
    """
    forward = 1 - settings.sideways_share - settings.pedestrian_share
    n_east, n_north = settings.n_streets_east, settings.n_streets_north
    only_east = n_east == 0 and settings.n_photos < _FEW_PHOTOS
    # A cell of the town has two streets, both driven both ways; turns take about a tenth more.
    per_cell = (2 if only_east else 4.4) * settings.block_m / settings.spacing_m / forward
    if only_east:
        n_east, n_north = 2, 1
    elif n_east == 0:
        # Rather a wider town with photos somewhat farther apart than a smaller, denser one.
        cells = 1.75 * settings.n_photos / per_cell
        n_north = max(1, math.floor(math.sqrt(cells)))
        is_long = 1.45 * settings.n_photos / per_cell >= n_north * (n_north + 1)
        n_east = n_north + 1 if is_long else n_north
    spacing = settings.spacing_m * n_east * n_north * per_cell / settings.n_photos
    return StreetGrid(settings.block_m, n_east, n_north, spacing, only_east)
