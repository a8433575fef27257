"""Panoramax: its STAC API finds and describes photos, its assets are the files."""

from citysplat_core.imagery.panoramax.service import PanoramaxSource

__all__ = ["PanoramaxSource"]
