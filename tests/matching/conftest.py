"""Worlds with known truth: a street of points, and a town of two-view geometries."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.features.database import create_database, finish_database
from citysplat_core.matching.pairs import wrap_deg
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.verify import CALIBRATED, Edges

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


def project(
    points: np.ndarray, east_north_up: np.ndarray, heading_deg: float, sight_m: float = 45.0
) -> np.ndarray:
    """Return pixels (P, 2) of an upright camera, NaN behind it, too far or outside the photo."""
    turn = np.radians(heading_deg)
    right = np.array([np.cos(turn), -np.sin(turn), 0.0])
    forward = np.array([np.sin(turn), np.cos(turn), 0.0])
    rotation = np.stack([right, [0.0, 0.0, -1.0], forward])
    local = (points - east_north_up) @ rotation.T
    depth = np.where(local[:, 2] > 1.0, local[:, 2], np.nan)
    pixel = FOCAL_PX * local[:, :2] / depth[:, None] + [WIDTH / 2, HEIGHT / 2]
    inside = (pixel > 0).all(axis=1) & (pixel < [WIDTH, HEIGHT]).all(axis=1)
    return np.where((inside & (depth < sight_m))[:, None], pixel, np.nan)


def write_box(
    folder: Path,
    table: pd.DataFrame,
    points: np.ndarray,
    descriptors: np.ndarray,
    sight_m: float = 45.0,
):
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
            pixel = project(points, at, true_heading, sight_m)
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


@pytest.fixture
def box_of_points():
    """Write a box of cameras and points: `write_box`."""
    return write_box


UPRIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def camera_from_enu(heading_deg: np.ndarray) -> np.ndarray:
    """Rotations (N, 3, 3) of upright cameras (x right, y down, z forward)."""
    return UPRIGHT @ Rotation.from_euler("z", heading_deg[:, None], degrees=True).as_matrix()


@dataclass
class Town:
    """Streets of a grid, driven in both directions; true poses and noisy sensors."""

    position: np.ndarray
    heading: np.ndarray
    photos: Photos

    def edges(self, rows: np.ndarray, *, noise_deg: float = 1.0, seed: int = 0) -> Edges:
        rng = np.random.default_rng(seed)
        world = camera_from_enu(self.heading)
        first, second = world[rows[:, 0]], world[rows[:, 1]]
        relative = second @ first.transpose(0, 2, 1)
        noise = Rotation.from_rotvec(np.radians(rng.normal(0, noise_deg, (len(rows), 3))))
        move = self.position[rows[:, 1]] - self.position[rows[:, 0]]
        translation = -np.einsum("eij,ej->ei", second, np.c_[move, np.zeros(len(move))])
        translation += rng.normal(0, 0.03, translation.shape) * np.linalg.norm(
            translation, axis=1, keepdims=True
        )
        return Edges(
            rows=rows,
            rotation=noise.as_matrix() @ relative,
            translation=translation / np.linalg.norm(translation, axis=1, keepdims=True),
            n_inliers=rng.integers(30, 200, len(rows)),
            config=np.full(len(rows), CALIBRATED),
        )

    def true_rows(self) -> np.ndarray:
        """Pairs within 22 m that look the same way."""
        gap = np.linalg.norm(self.position[:, None] - self.position[None], axis=2)
        turn = np.abs(wrap_deg(self.heading[:, None] - self.heading[None]))
        return np.argwhere(np.triu((gap < 22) & (turn < 45), k=1))

    def with_lookalikes(self, count: int = 60) -> tuple[Edges, np.ndarray]:
        """Add pairs of opposite drives that claim one direction, as alike facades make them."""
        good = self.edges(self.true_rows())
        gap = np.linalg.norm(self.position[:, None] - self.position[None], axis=2)
        turn = np.abs(wrap_deg(self.heading[:, None] - self.heading[None]))
        candidates = np.argwhere(np.triu((gap < 55) & (turn > 80), k=1))
        rng = np.random.default_rng(4)
        rows = candidates[rng.choice(len(candidates), count, replace=False)]
        bad = Edges(
            rows=rows,
            rotation=Rotation.from_rotvec(rng.normal(0, 0.05, (count, 3))).as_matrix(),
            translation=np.tile([0.6, 0.0, 0.8], (count, 1)),
            n_inliers=rng.integers(20, 80, count),
            config=np.full(count, CALIBRATED),
        )
        both = {
            name: np.concatenate([getattr(good, name), getattr(bad, name)])
            for name in ("rows", "rotation", "translation", "n_inliers", "config")
        }
        return Edges(**both), np.r_[np.zeros(len(good), dtype=bool), np.ones(count, dtype=bool)]


def make_town(*, gps_sigma_m: float = 1.0, seed: int = 2) -> Town:
    """Four streets of a grid, each driven there and back: 20 photos a drive, 5 m apart."""
    rng = np.random.default_rng(seed)
    position, heading, sequence = [], [], []
    along = np.arange(20) * 5.0
    for number in range(8):
        street, back = divmod(number, 2)
        lane = 2.0 if back else -2.0
        reach = along[::-1] if back else along
        if street < 2:
            position.append(np.c_[np.full(20, 50.0 * street + lane), reach])
            heading.append(np.full(20, 180.0 if back else 0.0))
        else:
            position.append(np.c_[reach, np.full(20, 50.0 * (street - 2) + lane)])
            heading.append(np.full(20, 270.0 if back else 90.0))
        sequence.append(np.full(20, number))
    true_position, true_heading = np.concatenate(position), np.concatenate(heading)
    bias = rng.normal(0, gps_sigma_m, (8, 2)).repeat(20, axis=0)
    count = len(true_position)
    photos = Photos(
        colmap_id=np.arange(count) + 1,
        names=tuple(f"{row}.jpg" for row in range(count)),
        side=np.zeros(count, dtype=np.int64),
        east_north_m=true_position + bias + rng.normal(0, 0.3, (count, 2)),
        heading_deg=(true_heading + rng.normal(0, 6, count)) % 360,
        sequence=np.concatenate(sequence),
        captured_at=np.arange(count) * 1000,
    )
    return Town(true_position, true_heading, photos)


@pytest.fixture
def town() -> Town:
    return make_town()
