"""Sparse models of boxes in the city frame, and the alignment that joins them."""

from citysplat_core.mapping.adjusted import load_city_models
from citysplat_core.mapping.align import align_city
from citysplat_core.mapping.solve import solve_box
from citysplat_core.mapping.tables import (
    read_aligned,
    read_components,
    read_images,
    read_overlaps,
    read_registered,
    read_transforms,
)

__all__ = [
    "align_city",
    "load_city_models",
    "read_aligned",
    "read_components",
    "read_images",
    "read_overlaps",
    "read_registered",
    "read_transforms",
    "solve_box",
]
