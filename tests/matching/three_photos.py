"""A feature database of three photos of one camera, without features yet."""

from pathlib import Path

import pandas as pd

from citysplat_core.features import create_database


def create_three_photos(path: Path, width: int, height: int, focal_px: float) -> None:
    """Write photos a, b and c (colmap ids 1, 2, 3), all at one place."""
    cameras = pd.DataFrame(
        {
            "camera_id": [7],
            "model": "PINHOLE",
            "width": width,
            "height": height,
            "params": [[focal_px, focal_px, width / 2, height / 2]],
            "has_prior_focal": True,
        }
    )
    images = pd.DataFrame(
        {
            "image_id": ["a", "b", "c"],
            "colmap_id": [1, 2, 3],
            "camera_id": 7,
            "east_m": 0.0,
            "north_m": 0.0,
            "up_m": 0.0,
        }
    )
    create_database(path, cameras, images)
