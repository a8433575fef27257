"""Panoramas: what is one, which perspective views it is cut into, and cutting them."""

from citysplat_core.imagery.panorama.catalog_views import add_views, count_panoramas
from citysplat_core.imagery.panorama.cutting import cut_view, encode_view, read_panorama
from citysplat_core.imagery.panorama.rig import (
    View,
    taken_sequence_of,
    view_from_panorama,
    view_id_of,
    views_of_rig,
)
from citysplat_core.imagery.panorama.telling import (
    SPHERICAL_TYPES,
    WHOLE_SPHERE,
    Coverage,
    coverage_of,
    is_panorama,
)
from citysplat_core.imagery.panorama.view_fetch import ViewFetch

__all__ = [
    "SPHERICAL_TYPES",
    "WHOLE_SPHERE",
    "Coverage",
    "View",
    "ViewFetch",
    "add_views",
    "count_panoramas",
    "coverage_of",
    "cut_view",
    "encode_view",
    "is_panorama",
    "read_panorama",
    "taken_sequence_of",
    "view_from_panorama",
    "view_id_of",
    "views_of_rig",
]
