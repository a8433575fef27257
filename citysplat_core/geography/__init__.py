"""Where things are: the area, the city frame, boxes and fringes."""

from citysplat_core.geography.area import DISCOVERY_ZOOM, Area
from citysplat_core.geography.frame import CityFrame
from citysplat_core.geography.plan import Box, BoxPlan, Fringe, load_plan
from citysplat_core.geography.quadkeys import (
    box_bounds,
    neighbours,
    quadkey_of,
    tile_bounds,
    tile_of,
    tile_of_quadkey,
)

__all__ = [
    "DISCOVERY_ZOOM",
    "Area",
    "Box",
    "BoxPlan",
    "CityFrame",
    "Fringe",
    "box_bounds",
    "load_plan",
    "neighbours",
    "quadkey_of",
    "tile_bounds",
    "tile_of",
    "tile_of_quadkey",
]
