"""Keypoints and descriptors of a box's photos, and the COLMAP databases that carry them."""

from citysplat_core.features.backend import FeatureBackend, backend_named
from citysplat_core.features.database import (
    connected,
    create_database,
    finish_database,
    image_name,
    kinds_of,
    pair_id_of,
    read_pair_counts,
    remove_pairs,
    strip_database,
)
from citysplat_core.features.device import colmap_device, has_gpu
from citysplat_core.features.digests import digest_features
from citysplat_core.features.dropping import DROPPED, drop_descriptors, restore_descriptors
from citysplat_core.features.extract import extract_box_features
from citysplat_core.features.extraction import extract_features
from citysplat_core.features.merging import copy_database, merge_databases
from citysplat_core.features.quiet import quiet_colmap
from citysplat_core.features.weights import collect_weights

__all__ = [
    "DROPPED",
    "FeatureBackend",
    "backend_named",
    "collect_weights",
    "colmap_device",
    "connected",
    "copy_database",
    "create_database",
    "digest_features",
    "drop_descriptors",
    "extract_box_features",
    "extract_features",
    "finish_database",
    "has_gpu",
    "image_name",
    "kinds_of",
    "merge_databases",
    "pair_id_of",
    "quiet_colmap",
    "read_pair_counts",
    "remove_pairs",
    "restore_descriptors",
    "strip_database",
]
