"""Keypoints and descriptors of a box's photos, and the COLMAP databases that carry them."""

from citysplat_core.features.database import (
    create_database,
    finish_database,
    image_name,
    merge_databases,
    read_pair_counts,
)

__all__ = [
    "create_database",
    "finish_database",
    "image_name",
    "merge_databases",
    "read_pair_counts",
]
