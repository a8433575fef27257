"""A town made by code: its photos with known truth, and a Mapillary-compatible local server."""

from citysplat_core.simulation.cameras import Camera
from citysplat_core.simulation.captures import Capture, Sequence, plan_captures
from citysplat_core.simulation.exposure import photo, photo_jpeg
from citysplat_core.simulation.photos import PhotoMaker
from citysplat_core.simulation.render import View, render
from citysplat_core.simulation.tables import truth_table, world_table
from citysplat_core.simulation.town import Town, build_town
from citysplat_core.simulation.town_files import load_town, write_town
from citysplat_core.simulation.town_settings import TownSettings

__all__ = [
    "Camera",
    "Capture",
    "PhotoMaker",
    "Sequence",
    "Town",
    "TownSettings",
    "View",
    "build_town",
    "load_town",
    "photo",
    "photo_jpeg",
    "plan_captures",
    "render",
    "truth_table",
    "world_table",
    "write_town",
]
