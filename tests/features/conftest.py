"""A box of drawn photos, and small databases with global ids."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.features.database import create_database


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


def camera_rows(*ids: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "camera_id": list(ids),
            "camera_key": [f"key {key}" for key in ids],
            "model": "SIMPLE_RADIAL",
            "width": 64,
            "height": 48,
            "params": [[50.0, 32.0, 24.0, 0.0]] * len(ids),
            "has_prior_focal": [key % 2 == 1 for key in ids],
        }
    )


def image_rows(*ids: int, camera_id: int = 7) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": [f"photo-{key}" for key in ids],
            "colmap_id": list(ids),
            "camera_id": camera_id,
            "east_m": [float(key % 100) for key in ids],
            "north_m": 5.0,
            "up_m": [np.nan if index == 0 else 30.0 for index in range(len(ids))],
        }
    )


def filled_database(
    path: Path, ids: list[int], pairs: list[tuple[int, int]], camera_id: int = 7
) -> Path:
    create_database(path, camera_rows(camera_id), image_rows(*ids, camera_id=camera_id))
    with pycolmap.Database.open(path) as database:
        for image_id in ids:
            points = np.full((5, 6), image_id % 50, dtype=np.float32)
            database.write_keypoints(image_id, points)
            data = np.zeros((5, 128), dtype=np.uint8)
            kind = pycolmap.FeatureExtractorType.SIFT
            database.write_descriptors(image_id, pycolmap.FeatureDescriptors(kind, data))
        for a, b in pairs:
            matches = np.array([[0, 0], [1, 1], [2, 2]], dtype=np.uint32)
            database.write_matches(a, b, matches)
            geometry = pycolmap.TwoViewGeometry(config=2, inlier_matches=matches[:2])
            database.write_two_view_geometry(a, b, geometry)
    return path


@pytest.fixture
def cameras():
    """Return the maker of camera rows: cameras(*camera_ids)."""
    return camera_rows


@pytest.fixture
def images():
    """Return the maker of image rows: images(*colmap_ids, camera_id=7)."""
    return image_rows


@pytest.fixture
def filled():
    """Return the maker of databases with features: filled(path, ids, pairs)."""
    return filled_database
