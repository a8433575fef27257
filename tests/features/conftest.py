"""A box of drawn photos, written as the artifact that extraction reads."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def drawn_box(tmp_path):
    """Write a ``box_images`` artifact: (number of photos, number of blank ones) -> its folder."""

    def write(count: int, *, n_blank: int = 0, name: str = "images") -> Path:
        folder = tmp_path / name
        (folder / "photos").mkdir(parents=True)
        rng = np.random.default_rng(3)
        for row in range(count):
            noise = rng.integers(0, 255, (30, 40, 3)).astype(np.uint8)
            photo = cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)
            blank = np.full_like(photo, 127)
            path = folder / "photos" / f"photo{row}.jpg"
            cv2.imwrite(str(path), blank if row < n_blank else photo)
        status = ["ok"] * count + ["rejected"]
        pd.DataFrame(
            {
                "image_id": [f"photo{row}" for row in range(count + 1)],
                "colmap_id": np.arange(count + 1) + 41,
                "camera_id": 9,
                "status": status,
                "east_m": np.arange(count + 1) * 2.0,
                "north_m": 0.0,
                "up_m": np.nan,
            }
        ).to_parquet(folder / "images.parquet")
        pd.DataFrame(
            {
                "camera_id": [9],
                "camera_key": "one",
                "model": "SIMPLE_RADIAL",
                "width": 160,
                "height": 120,
                "params": [[140.0, 80.0, 60.0, 0.0]],
                "has_prior_focal": True,
            }
        ).to_parquet(folder / "cameras.parquet")
        return folder

    return write
