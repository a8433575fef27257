"""A local server that speaks Mapillary's protocol: tiles, graph, photos, limits and faults."""

from citysplat_core.simulation.server.config import LOCAL_TOKEN, ServerConfig
from citysplat_core.simulation.server.pictures import FolderImages, ImageMaker, SyntheticScenes
from citysplat_core.simulation.server.running import RunningServer, run_in_thread, serve
from citysplat_core.simulation.server.synthetic_world import SyntheticSpec, synthetic_world
from citysplat_core.simulation.server.world import World, read_world, world_schema

__all__ = [
    "LOCAL_TOKEN",
    "FolderImages",
    "ImageMaker",
    "RunningServer",
    "ServerConfig",
    "SyntheticScenes",
    "SyntheticSpec",
    "World",
    "read_world",
    "run_in_thread",
    "serve",
    "synthetic_world",
    "world_schema",
]
