"""Mapillary: vector tiles find images, the graph describes them, the photo host has them."""

from citysplat_core.imagery.mapillary.service import MapillarySource

__all__ = ["MapillarySource"]
