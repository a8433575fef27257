"""Two-view geometries of the matches that a database has, on as many threads as are wanted.

COLMAP's own call for it takes all cores, or does again all pairs of the database that failed. The
estimator is the same and gives the same bits.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pycolmap
from numpy.typing import NDArray

from citysplat_core.errors import MatchingError
from citysplat_core.features import connected, pair_id_of, quiet_colmap
from citysplat_core.settings import MatchingSettings

Pair = tuple[int, int]
_Pixels: TypeAlias = NDArray[np.float64]
_Task: TypeAlias = tuple[
    pycolmap.Camera, _Pixels, pycolmap.Camera, _Pixels, NDArray[np.unsignedinteger[Any]]
]


def verification_options(settings: MatchingSettings) -> pycolmap.TwoViewGeometryOptions:
    """Return how a geometry is fitted, so that every run fits the same."""
    options = pycolmap.TwoViewGeometryOptions(
        compute_relative_pose=True,
        filter_stationary_matches=True,
        min_num_inliers=settings.min_inliers,
    )
    options.ransac.random_seed = settings.seed
    return options


def fit_geometries(
    database: Path, pairs: Sequence[Pair], settings: MatchingSettings, *, n_threads: int
) -> None:
    """Fit two-view geometries to raw matches and write them, replacing what the pairs had.

    A pair without matches gets an empty geometry: it was tried.

    Args:
        database: COLMAP database with keypoints and matches; nobody else has it open.
        pairs: Ids of the two images.
        settings: ``min_inliers`` and the seed.
        n_threads: Pairs at a time; the result does not depend on it.

    Raises:
        MatchingError: COLMAP could not read or write the database.
    """
    options = verification_options(settings)

    def fit(task: _Task) -> pycolmap.TwoViewGeometry:
        found = pycolmap.estimate_two_view_geometry(*task, options)  # lets go of Python's lock
        if len(found.inlier_matches):
            return found
        empty = pycolmap.TwoViewGeometry()  # what COLMAP stores where nothing was found
        empty.config = found.config
        return empty

    try:
        with pycolmap.Database.open(database) as opened, quiet_colmap():
            tasks = _tasks(opened, pairs)
            with ThreadPoolExecutor(max(n_threads, 1)) as pool:
                found = list(pool.map(fit, tasks))
            with pycolmap.DatabaseTransaction(opened):
                for pair, geometry in zip(pairs, found, strict=True):
                    if opened.exists_two_view_geometry(*pair):
                        opened.delete_two_view_geometry(*pair)
                    opened.write_two_view_geometry(*pair, geometry)
    except (RuntimeError, ValueError) as error:
        raise MatchingError(
            f"COLMAP could not verify {len(pairs)} pairs of {database.name}: {error}",
            expected="a readable database and room on the disk",
            fix="Free space if the disk is full, else delete this step's work folder; run again.",
        ) from error


def _tasks(opened: pycolmap.Database, pairs: Sequence[Pair]) -> list[_Task]:
    """Read camera and pixels of both images and the matches of every pair."""
    cameras, pixels = {}, {}
    for image_id in sorted({image_id for pair in pairs for image_id in pair}):
        cameras[image_id] = opened.read_camera(opened.read_image(image_id).camera_id)
        keypoints = np.asarray(opened.read_keypoints(image_id), dtype=np.float64)
        pixels[image_id] = keypoints[:, :2].copy()
    nothing = np.zeros((0, 2), dtype=np.uint32)
    return [
        (
            cameras[a],
            pixels[a],
            cameras[b],
            pixels[b],
            opened.read_matches(a, b) if opened.exists_matches(a, b) else nothing,
        )
        for a, b in pairs
    ]


def forget_geometries(database: Path, pairs: Sequence[Pair]) -> None:
    """Delete the two-view geometries of pairs, so that they count as not verified."""
    keys = [(pair_id_of(*pair),) for pair in pairs]
    with connected(database) as connection:
        connection.executemany("DELETE FROM two_view_geometries WHERE pair_id = ?", keys)
