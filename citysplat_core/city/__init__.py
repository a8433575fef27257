"""The finished city: boxes joined, published and shown."""

from citysplat_core.city.inputs import BoxInputs, BoxState
from citysplat_core.city.server import make_server, serve, serving
from citysplat_core.city.tiles import build_city

__all__ = ["BoxInputs", "BoxState", "build_city", "make_server", "serve", "serving"]
