"""A street of points with known cameras, written as the artifacts that matching reads."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.features.database import create_database, finish_database

FOCAL_PX, WIDTH, HEIGHT = 500.0, 640, 480


@dataclass
class Street:
    """Cameras on a street along north, looking ahead, between two textured facades."""

    spacing_m: float = 4.0
    n_photos: int = 12
    seed: int = 1

    def cameras(self) -> pd.DataFrame:
        north = np.arange(self.n_photos) * self.spacing_m
        return pd.DataFrame(
            {
                "image_id": [f"s{row:02d}" for row in range(self.n_photos)],
                "colmap_id": np.arange(self.n_photos) + 101,
                "camera_id": 7,
                "status": "ok",
                "sequence_id": "drive",
                "captured_at": pd.to_datetime(np.arange(self.n_photos), unit="s", utc=True),
                "east_m": 0.5 * np.sin(north),
                "north_m": north,
                "up_m": np.nan,
                "heading_deg": 0.0,
            }
        )

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """Return points (P, 3) in the city frame and a descriptor each."""
        rng = np.random.default_rng(self.seed)
        length_m = self.n_photos * self.spacing_m + 40.0
        count = int(14 * length_m)
        side = rng.choice([-7.0, 7.0], count) + rng.normal(0, 0.6, count)
        where = np.c_[side, rng.uniform(0, length_m, count), rng.uniform(-1.5, 6.0, count)]
        return where, rng.integers(0, 120, (count, 128)).astype(np.uint8)


def project(points: np.ndarray, east_north_up: np.ndarray, heading_deg: float) -> np.ndarray:
    """Return pixels (P, 2) of an upright camera, NaN behind it or outside the photo."""
    turn = np.radians(heading_deg)
    right = np.array([np.cos(turn), -np.sin(turn), 0.0])
    forward = np.array([np.sin(turn), np.cos(turn), 0.0])
    rotation = np.stack([right, [0.0, 0.0, -1.0], forward])
    local = (points - east_north_up) @ rotation.T
    depth = np.where(local[:, 2] > 1.0, local[:, 2], np.nan)
    pixel = FOCAL_PX * local[:, :2] / depth[:, None] + [WIDTH / 2, HEIGHT / 2]
    inside = (pixel > 0).all(axis=1) & (pixel < [WIDTH, HEIGHT]).all(axis=1)
    return np.where((inside & (depth < 45.0))[:, None], pixel, np.nan)


def write_box(folder: Path, table: pd.DataFrame, points: np.ndarray, descriptors: np.ndarray):
    """Write ``box_images`` and ``box_features`` of some cameras; return their two folders."""
    images, features = folder / "images", folder / "features"
    images.mkdir(parents=True)
    features.mkdir()
    table.to_parquet(images / "images.parquet")
    cameras = pd.DataFrame(
        {
            "camera_id": [7],
            "camera_key": "one",
            "model": "PINHOLE",
            "width": WIDTH,
            "height": HEIGHT,
            "params": [[FOCAL_PX, FOCAL_PX, WIDTH / 2, HEIGHT / 2]],
            "has_prior_focal": True,
        }
    )
    cameras.to_parquet(images / "cameras.parquet")
    usable = table[table["status"] == "ok"]
    create_database(features / "features.db", cameras, usable)
    rng = np.random.default_rng(5)
    with pycolmap.Database.open(features / "features.db") as database:
        for row in usable.itertuples():
            at = np.array([row.east_m, row.north_m, 1.5])
            true_heading = getattr(row, "true_heading_deg", row.heading_deg)
            pixel = project(points, at, true_heading)
            seen = np.isfinite(pixel).all(axis=1)
            noisy = pixel[seen] + rng.normal(0, 0.3, (seen.sum(), 2))
            keypoints = np.c_[noisy, np.ones(seen.sum()), np.zeros(seen.sum())]
            database.write_keypoints(row.colmap_id, keypoints.astype(np.float32))
            kind = pycolmap.FeatureExtractorType.SIFT
            data = pycolmap.FeatureDescriptors(kind, np.ascontiguousarray(descriptors[seen]))
            database.write_descriptors(row.colmap_id, data)
    finish_database(features / "features.db")
    return images, features


@pytest.fixture
def street() -> Street:
    return Street()


@pytest.fixture
def box_of(tmp_path):
    """Write a box of a street's cameras: (name, cameras, street) -> images, features."""

    def write(name: str, table: pd.DataFrame, street: Street):
        return write_box(tmp_path / name, table, *street.points())

    return write
