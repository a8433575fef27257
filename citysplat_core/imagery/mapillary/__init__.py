"""Mapillary: vector tiles to find images, the graph to describe them, the photo host to fetch them."""

from citysplat_core.imagery.mapillary.policy import Patience
from citysplat_core.imagery.mapillary.service import MapillarySource

__all__ = ["MapillarySource", "Patience"]
