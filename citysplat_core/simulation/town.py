"""A town: its settings, its frame, its streets and everything that stands in them."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from citysplat_core.geography import CityFrame
from citysplat_core.simulation.furniture import town_furniture
from citysplat_core.simulation.houses import RING, town_houses
from citysplat_core.simulation.solids import SolidArrays, solid_arrays
from citysplat_core.simulation.street_grid import StreetGrid, street_grid
from citysplat_core.simulation.texture_bank import TextureBank, texture_bank
from citysplat_core.simulation.town_settings import TownSettings


@dataclass(frozen=True)
class Town:
    """A town made by code; read-only, may be used by several threads at once.

    Town metres are the city frame turned about up by ``settings.turn_deg`` and sheared by the
    slope, so that streets run along x and y and the road lies at z = 0.

    Attributes:
        settings: What it was made from.
        frame: The city frame, East-North-Up metres about the town's centre.
        grid: Its streets.
        solids: Everything that stands in it, in town metres.
    """

    settings: TownSettings
    frame: CityFrame
    grid: StreetGrid
    solids: SolidArrays

    @property
    def textures(self) -> TextureBank:
        """The pictures on its surfaces, painted on first use."""
        return texture_bank(self.settings.seed)

    @property
    def town_from_enu(self) -> NDArray[np.float64]:
        """The linear map from the city frame to town metres, shape (3, 3)."""
        turn = math.radians(self.settings.turn_deg)
        c, s = math.cos(turn), math.sin(turn)
        level = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        shear = np.eye(3)
        shear[2, :2] = -self.settings.slope_east, -self.settings.slope_north
        return np.asarray(shear @ level)


def build_town(settings: TownSettings) -> Town:
    """Build a town: geometry only, no pictures.

    Args:
        settings: What the town is like; the same settings give the same town.
    """
    grid = street_grid(settings)
    solids = town_houses(
        np.random.default_rng([settings.seed, 2]), grid, lookalike_share=settings.lookalike_share
    )
    solids += town_furniture(
        np.random.default_rng([settings.seed, 3]), grid, parked_cars=settings.parked_cars
    )
    margin = (RING + 0.5) * grid.pitch_m
    west, south, east, north = grid.bounds_m
    return Town(
        settings=settings,
        frame=CityFrame(
            origin_lon=settings.origin_lon,
            origin_lat=settings.origin_lat,
            origin_alt_m=settings.origin_alt_m,
        ),
        grid=grid,
        solids=solid_arrays(
            solids, bounds_m=(west - margin, south - margin, east + margin, north + margin)
        ),
    )
