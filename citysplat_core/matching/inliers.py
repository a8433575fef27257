"""Verified pairs with their inlier matches, as flat arrays."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray

from citysplat_core.matching.verify import Edges


@dataclass(frozen=True, slots=True, kw_only=True)
class Inliers:
    """Inlier matches of E pairs, pair by pair.

    Attributes:
        edge: Row of the pair in its `Edges`, ascending, shape (M,).
        point: Numbers of the two keypoints in their photos, shape (M, 2).
        bearing: Undistorted image points at depth 1 (x right, y down), shape (M, 2, 2).
    """

    edge: NDArray[np.int32]
    point: NDArray[np.int32]
    bearing: NDArray[np.float32]

    def __len__(self) -> int:
        """Count the matches."""
        return len(self.edge)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The verified pairs of some databases.

    Attributes:
        edges: The pairs that have a relative pose.
        inliers: All their inlier matches.
        source: Place of each pair's database in the list, shape (E,).
    """

    edges: Edges
    inliers: Inliers
    source: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Pair:
    ids: tuple[int, int]
    pose: pycolmap.Rigid3d
    config: int
    points: NDArray[np.int64]
    bearings: NDArray[np.float32]
    source: int


def read_graph(databases: Sequence[Path], colmap_ids: NDArray[np.int64]) -> Graph:
    """Read the verified pairs that have a relative pose, with their inlier matches.

    Args:
        databases: COLMAP databases with the same keypoints of the same photos; of a pair that
            several have, the first counts.
        colmap_ids: Ids of the photos in ascending order; their places become the rows, and pairs of
            other photos are passed over.

    Returns:
        The pairs in ascending order of their ids.
    """
    wanted = set(colmap_ids.tolist())
    found: dict[tuple[int, int], _Pair] = {}
    for source, database in enumerate(databases):
        for pair in _read(database, source, wanted):
            found.setdefault(pair.ids, pair)
    pairs = [found[ids] for ids in sorted(found)]
    ids = np.array([pair.ids for pair in pairs], dtype=np.int64).reshape(-1, 2)
    sizes = [len(pair.points) for pair in pairs]
    points = np.concatenate([np.empty((0, 2)), *(pair.points for pair in pairs)])
    bearings = np.concatenate([np.empty((0, 2, 2)), *(pair.bearings for pair in pairs)])
    return Graph(
        edges=Edges(
            rows=np.searchsorted(colmap_ids, ids).astype(np.int64),
            rotation=np.array([pair.pose.rotation.matrix() for pair in pairs]).reshape(-1, 3, 3),
            translation=np.array([pair.pose.translation for pair in pairs]).reshape(-1, 3),
            n_inliers=np.array(sizes, dtype=np.int64),
            config=np.array([pair.config for pair in pairs], dtype=np.int64),
        ),
        inliers=Inliers(
            edge=np.repeat(np.arange(len(pairs), dtype=np.int32), sizes),
            point=points.astype(np.int32),
            bearing=bearings.astype(np.float32),
        ),
        source=np.array([pair.source for pair in pairs], dtype=np.int64),
    )


def _read(database: Path, source: int, wanted: set[int]) -> list[_Pair]:
    with pycolmap.Database.open(database) as opened:
        keys, geometries = opened.read_two_view_geometries()
        bearings_of = _reader_of_bearings(opened)
        pairs = []
        for key, geometry in zip(keys, geometries, strict=True):
            a, b = pycolmap.pair_id_to_image_pair(key)
            points = np.asarray(geometry.inlier_matches, dtype=np.int64)
            pose = geometry.cam2_from_cam1
            if pose is None or not len(points) or not {a, b} <= wanted:
                continue
            bearings = np.stack(
                [bearings_of(each)[points[:, side]] for side, each in enumerate((a, b))], axis=1
            )
            pairs.append(_Pair((a, b), pose, int(geometry.config), points, bearings, source))
    return pairs


def _reader_of_bearings(database: pycolmap.Database) -> Callable[[int], NDArray[np.float32]]:
    """Give a function that undistorts the keypoints of a photo, each photo once."""
    cameras = {camera.camera_id: camera for camera in database.read_all_cameras()}
    images = {image.image_id: image for image in database.read_all_images()}
    known: dict[int, NDArray[np.float32]] = {}

    def bearings_of(image_id: int) -> NDArray[np.float32]:
        if image_id not in known:
            pixels = np.asarray(database.read_keypoints(image_id))[:, :2].astype(np.float64)
            camera = cameras[images[image_id].camera_id]
            known[image_id] = np.asarray(camera.cam_from_img(pixels), dtype=np.float32)
        return known[image_id]

    return bearings_of
