"""A street of houses that all look the same, driven three times, with the truth of every match."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pycolmap
from scipy.spatial.transform import Rotation

from citysplat_core.features.database import create_database, finish_database
from citysplat_core.matching.inliers import Graph, Inliers
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.verify import CALIBRATED, Edges
from tests.matching.conftest import FOCAL_PX, HEIGHT, WIDTH, camera_from_enu

HOUSE_M = 9.0
PER_HOUSE = 50
"""Points of the two houses that face each other; those of the next two have the next numbers."""
MOST_MATCHES = 50
EYE_M = 1.5

Pair = tuple[int, int, float]
"""Rows of two photos, and the share of matches that take each house for the next one."""


@dataclass(frozen=True)
class Rows:
    """Photos of a street along north, with true positions and headings, and true points."""

    position_m: np.ndarray
    heading_deg: np.ndarray
    bias_m: np.ndarray
    photos: Photos
    n_houses: int

    @cached_property
    def points_m(self) -> np.ndarray:
        """East, north, up of all points, house by house, all houses alike."""
        rng = np.random.default_rng(3)
        east = np.where(np.arange(PER_HOUSE) % 2, 8.0, -8.0) + rng.uniform(-0.4, 0.4, PER_HOUSE)
        north = rng.uniform(0, HOUSE_M, PER_HOUSE)
        house = np.c_[east, north, rng.uniform(0, 7, PER_HOUSE)]
        shift = np.arange(self.n_houses)[:, None, None] * [0.0, HOUSE_M, 0.0]
        return (house + shift).reshape(-1, 3)

    @cached_property
    def local_m(self) -> np.ndarray:
        """Points in the axes of each camera (x right, y down, z forward), shape (N, P, 3)."""
        eye = np.c_[self.position_m, np.full(len(self.position_m), EYE_M)]
        away = self.points_m[None] - eye[:, None]
        return np.einsum("nij,npj->npi", camera_from_enu(self.heading_deg), away)

    def seen_by(self, row: int) -> np.ndarray:
        """Say which points are in a photo."""
        x, y, depth = self.local_m[row].T
        inside = (np.abs(x) < 0.8 * depth) & (np.abs(y) < 0.6 * depth)
        return inside & (depth > 3.0) & (depth < 32.0)

    def depth_m(self, rows: np.ndarray, point: np.ndarray) -> np.ndarray:
        """Return the true depth of keypoints, which have the numbers of their points."""
        return self.local_m[rows, point, 2]

    @cached_property
    def bearing(self) -> np.ndarray:
        """Keypoints at depth 1 with the noise of a third of a pixel, shape (N, P, 2)."""
        noise = np.random.default_rng(8).normal(0, 0.0007, (*self.local_m.shape[:2], 2))
        return self.local_m[:, :, :2] / self.local_m[:, :, 2:] + noise

    def relative_pose(self, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rotation and translation (metres) of camera b from camera a, without noise."""
        first, second = camera_from_enu(self.heading_deg[[a, b]])
        return second @ first.T, -second @ [*(self.position_m[b] - self.position_m[a]), 0.0]

    def without_compass(self) -> "Rows":
        nothing = np.full(len(self.photos), np.nan)
        return replace(self, photos=replace(self.photos, heading_deg=nothing))

    def without_sequences(self) -> "Rows":
        alone = np.full(len(self.photos), -1)
        return replace(self, photos=replace(self.photos, sequence=alone))

    def true_pairs(self) -> list[Pair]:
        """Neighbours of a drive and near photos of two drives that have enough in common."""
        drive = self.drive
        pairs: list[Pair] = []
        for a in range(len(drive)):
            for b in range(a + 1, len(drive)):
                near = np.hypot(*(self.position_m[b] - self.position_m[a])) < 12.0
                wanted = b - a in (1, 2, 4, 6) if drive[a] == drive[b] else near
                if wanted and (self.seen_by(a) & self.seen_by(b)).sum() >= 30:
                    pairs.append((a, b, 0.0))
        return pairs

    @property
    def drive(self) -> np.ndarray:
        """Number of the drive of each photo."""
        return np.repeat(np.arange(len(self.bias_m)), len(self.position_m) // len(self.bias_m))

    def graph(self, pairs: Sequence[Pair]) -> tuple[Graph, np.ndarray]:
        """Return verified pairs with their matches, and which of the matches are true.

        A pair of nothing but false matches has the relative pose that they make one believe in.
        """
        matches = [self._matches(number, *pair) for number, pair in enumerate(pairs)]
        edge = np.repeat(np.arange(len(pairs), dtype=np.int32), [len(each) for each in matches])
        point = np.concatenate([np.empty((0, 2), dtype=np.int32), *matches])
        rows = np.array([pair[:2] for pair in pairs], dtype=np.int64).reshape(-1, 2)
        bearing = self.bearing[rows[edge], point].astype(np.float32)
        share = np.array([pair[2] for pair in pairs])
        edges = self._edges(rows, share == 1.0, np.bincount(edge, minlength=len(pairs)))
        inliers = Inliers(edge=edge, point=point.astype(np.int32), bearing=bearing)
        source = np.zeros(len(pairs), dtype=np.int64)
        return Graph(edges=edges, inliers=inliers, source=source), point[:, 0] == point[:, 1]

    def _matches(self, number: int, a: int, b: int, false_share: float) -> np.ndarray:
        rng = np.random.default_rng([number, a, b])
        seen_a, seen_b = self.seen_by(a), self.seen_by(b)
        true = np.flatnonzero(seen_a & seen_b)
        false = np.flatnonzero(seen_a[:-PER_HOUSE] & seen_b[PER_HOUSE:])
        most = MOST_MATCHES if false_share in (0.0, 1.0) else min(len(true), len(false))
        n_false = min(round(false_share * most), len(false))
        n_true = min(round((1 - false_share) * most), len(true))
        false, true = rng.permutation(false)[:n_false], rng.permutation(true)[:n_true]
        return np.concatenate([np.c_[true, true], np.c_[false, false + PER_HOUSE]])

    def _edges(self, rows: np.ndarray, is_false: np.ndarray, n_inliers: np.ndarray) -> Edges:
        rng = np.random.default_rng(9)
        world = camera_from_enu(self.heading_deg)
        first, second = world[rows[:, 0]], world[rows[:, 1]]
        noise = Rotation.from_rotvec(np.radians(rng.normal(0, 0.3, (len(rows), 3)))).as_matrix()
        move = np.c_[self.position_m[rows[:, 1]] - self.position_m[rows[:, 0]], np.zeros(len(rows))]
        move[is_false, 1] -= HOUSE_M
        away = -np.einsum("eij,ej->ei", second, move)
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        away += rng.normal(0, 0.01, away.shape)
        return Edges(
            rows=rows,
            rotation=noise.reshape(-1, 3, 3) @ second @ first.transpose(0, 2, 1),
            translation=away / np.linalg.norm(away, axis=1, keepdims=True),
            n_inliers=n_inliers,
            config=np.full(len(rows), CALIBRATED),
        )


def drive_rows(n_photos: int = 14, *, gps_sigma_m: float = 2.0, seed: int = 5) -> Rows:
    """Drive a street of look-alikes three times: ahead, a bit to the left, and with a compass that
    lies by 165 degrees."""
    rng = np.random.default_rng(seed)
    north = np.arange(n_photos) * 3.0
    drives, headings = [], []
    for lane, start, heading in [(-2.0, 0.0, 0.0), (1.5, 1.0, 350.0), (0.0, -1.2, 6.0)]:
        weave = 0.4 * np.sin(0.5 * north)
        drives.append(np.c_[lane + weave, start + north])
        headings.append(heading + 3.0 * np.cos(0.7 * north))
    position, heading = np.concatenate(drives), np.concatenate(headings) % 360.0
    bias, count = rng.normal(0, gps_sigma_m, (3, 2)), 3 * n_photos
    compass = heading + rng.normal(0, 3, count)
    compass[2 * n_photos :] += 165.0
    photos = Photos(
        colmap_id=np.arange(count) + 11,
        names=tuple(f"{row}.jpg" for row in range(count)),
        side=np.zeros(count, dtype=np.int64),
        east_north_m=position + bias.repeat(n_photos, axis=0) + rng.normal(0, 0.2, (count, 2)),
        heading_deg=compass % 360.0,
        sequence=np.repeat(np.arange(3), n_photos),
        captured_at=np.arange(count) * 1000,
    )
    n_houses = int((north[-1] + 45.0) // HOUSE_M)
    return Rows(position, heading, bias, photos, n_houses)


def write_database(
    path: Path, rows: Rows, graph: Graph, order: Iterable[int] | None = None
) -> None:
    """Write the verified pairs as COLMAP has them, in some order of pairs.

    The keypoints of each photo are all points.
    """
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
    ids = rows.photos.colmap_id
    images = pd.DataFrame(
        {
            "image_id": [name.removesuffix(".jpg") for name in rows.photos.names],
            "colmap_id": ids,
            "camera_id": 7,
            "east_m": rows.photos.east_north_m[:, 0],
            "north_m": rows.photos.east_north_m[:, 1],
            "up_m": np.nan,
        }
    )
    create_database(path, cameras, images)
    order = range(len(graph.edges)) if order is None else order
    ends = np.searchsorted(graph.inliers.edge, np.arange(len(graph.edges) + 1))
    with pycolmap.Database.open(path) as database:
        for row, bearing in enumerate(rows.bearing):
            pixel = FOCAL_PX * bearing + [WIDTH / 2, HEIGHT / 2]
            database.write_keypoints(int(ids[row]), pixel.astype(np.float32))
        for edge in order:
            a, b = graph.edges.rows[edge].tolist()
            turn = pycolmap.Rotation3d(graph.edges.rotation[edge])
            geometry = pycolmap.TwoViewGeometry()
            geometry.config = int(graph.edges.config[edge])
            geometry.cam2_from_cam1 = pycolmap.Rigid3d(turn, graph.edges.translation[edge])
            own = slice(ends[edge], ends[edge + 1])
            geometry.inlier_matches = graph.inliers.point[own].astype(np.uint32)
            database.write_two_view_geometry(int(ids[a]), int(ids[b]), geometry)
    finish_database(path)


FALSE_PAIRS: list[Pair] = [
    (2, 15, 1.0), (3, 19, 1.0), (5, 20, 1.0), (6, 33, 1.0), (8, 36, 1.0), (16, 31, 1.0),
    (18, 34, 1.0), (21, 36, 1.0), (22, 39, 1.0), (9, 22, 1.0),
]  # fmt: skip
"""Photos of two drives, of which the second is taken to stand a house further back."""
MIXED_PAIRS: list[Pair] = [(4, 18, 0.5), (24, 38, 0.5), (12, 40, 0.5)]
"""Of these every second match takes a house for the next one."""


@dataclass(frozen=True)
class Case:
    """A street with true, false and mixed pairs, in this order."""

    rows: Rows
    graph: Graph
    false_share: np.ndarray
    is_true: np.ndarray

    def of_pairs(self, false_share: float) -> np.ndarray:
        """Say which matches are of pairs with this share of false matches, shape (M,)."""
        return (self.false_share == false_share)[self.graph.inliers.edge]


def make_case(rows: Rows) -> Case:
    """Make a street's graph with look-alike pairs."""
    special = {pair[:2] for pair in FALSE_PAIRS + MIXED_PAIRS}
    pairs = [pair for pair in rows.true_pairs() if pair[:2] not in special]
    pairs += FALSE_PAIRS + MIXED_PAIRS
    graph, is_true = rows.graph(pairs)
    return Case(rows, graph, np.array([pair[2] for pair in pairs]), is_true)
