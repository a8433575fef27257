"""Match descriptors and verify geometry of proposed pairs, in chunks, restartable."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pycolmap
from numpy.typing import NDArray

from citysplat_core.errors import MatchingError
from citysplat_core.features import colmap_device, connected, has_gpu, pair_id_of, quiet_colmap
from citysplat_core.matching import chunks
from citysplat_core.matching.chunks import chunks_of, order_pairs
from citysplat_core.matching.matchers import add_matches, clear_matches, matcher_named, matchers_for
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import Progress

CALIBRATED: Final = int(pycolmap.TwoViewGeometryConfiguration.CALIBRATED)
"""Two-view geometry explained by an essential matrix."""
UNCALIBRATED: Final = int(pycolmap.TwoViewGeometryConfiguration.UNCALIBRATED)
"""Two-view geometry explained by a fundamental matrix; its pose depends on a guessed focal."""
PLANAR: Final = int(pycolmap.TwoViewGeometryConfiguration.PLANAR)
"""Two-view geometry explained by a homography; its pose is one of two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Verified pairs with their relative poses, one row a pair.

    Attributes:
        rows: Rows (i, j) of the photos, shape (E, 2).
        rotation: Camera j from camera i, shape (E, 3, 3).
        translation: Camera j from camera i, unit length, shape (E, 3).
        n_inliers: Inlier matches, shape (E,).
        config: COLMAP's class of the two-view geometry, shape (E,).
    """

    rows: NDArray[np.int64]
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]
    n_inliers: NDArray[np.int64]
    config: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.rows)

    def select(self, mask: NDArray[np.bool_]) -> "Edges":
        """Return some of the pairs."""
        return Edges(
            rows=self.rows[mask],
            rotation=self.rotation[mask],
            translation=self.translation[mask],
            n_inliers=self.n_inliers[mask],
            config=self.config[mask],
        )


def match_pairs(
    database: Path,
    pairs: Sequence[tuple[int, int]],
    names: dict[int, str],
    *,
    settings: MatchingSettings,
    n_threads: int,
    progress: Progress,
) -> None:
    """Match and verify image pairs inside a database; pairs that it has already are passed over.

    Args:
        database: COLMAP database with keypoints and descriptors.
        pairs: Colmap ids of the two images.
        names: Image name of every colmap id.
        settings: Matching settings; the seed makes the verification repeatable.
        n_threads: Threads to use; the result does not depend on it.
        progress: Called after every chunk.

    Raises:
        MatchingError: COLMAP could not read or write the database.
    """
    done = _finished_pairs(database)
    todo = order_pairs([pair for pair in pairs if pair_id_of(*pair) not in done])
    n_done = len(pairs) - len(todo)
    list_path = database.with_name("pairs.txt")
    wanted = matchers_for(database, settings.matcher)
    learned = [matcher_named(name) for name in wanted if name != "sift"] if todo else []
    for chunk in chunks_of(todo, chunks.FIRST_PAIRS_LEARNED if learned else chunks.FIRST_PAIRS):
        progress(n_done, len(pairs), "pairs")
        n_done += len(chunk)
        list_path.write_text("".join(f"{names[a]} {names[b]}\n" for a, b in chunk))
        if learned:
            clear_matches(database, chunk)
        if "sift" in wanted or not learned:
            _match_chunk(database, list_path, settings, n_threads, verified=not learned)
        for matcher in learned:
            add_matches(database, chunk, matcher, n_threads=n_threads)
        if learned:
            _verify_chunk(database, list_path, settings)
    progress(len(pairs), len(pairs), "pairs")


def _finished_pairs(database: Path) -> set[int]:
    query = "SELECT pair_id FROM two_view_geometries"
    with connected(database) as connection:
        return {int(row[0]) for row in connection.execute(query)}


def _match_chunk(
    database: Path, list_path: Path, settings: MatchingSettings, n_threads: int, *, verified: bool
) -> None:
    # No learned matcher (the wheels end the process) and no brute force on the CPU (160 times
    # slower for 2 % more matches): both are named here and not left to a setting.
    matching = pycolmap.FeatureMatchingOptions(
        type=pycolmap.FeatureMatcherType.SIFT_BRUTEFORCE,
        num_threads=n_threads,
        use_gpu=has_gpu(),
        skip_geometric_verification=not verified,
    )
    matching.sift.max_ratio = settings.max_ratio
    matching.sift.cpu_brute_force_matcher = False
    verification = _verification(settings)
    pairing = pycolmap.ImportedPairingOptions(match_list_path=list_path)
    try:
        with quiet_colmap():
            pycolmap.match_image_pairs(database, matching, pairing, verification, colmap_device())
    except (RuntimeError, ValueError) as error:
        raise MatchingError(
            f"COLMAP could not match the pairs of {list_path.name}: {error}",
            expected="a readable database and room on the disk",
            fix="Free space if the disk is full, else delete this step's work folder; run again.",
        ) from error


def _verification(settings: MatchingSettings) -> pycolmap.TwoViewGeometryOptions:
    options = pycolmap.TwoViewGeometryOptions(
        compute_relative_pose=True,
        filter_stationary_matches=True,
        min_num_inliers=settings.min_inliers,
    )
    options.ransac.random_seed = settings.seed
    return options


def _verify_chunk(database: Path, list_path: Path, settings: MatchingSettings) -> None:
    """Verify pairs whose matches stand in the database; COLMAP takes all cores for it."""
    try:
        with quiet_colmap():
            pycolmap.verify_matches(database, list_path, _verification(settings))
    except (RuntimeError, ValueError) as error:
        raise MatchingError(
            f"COLMAP could not verify the pairs of {list_path.name}: {error}",
            expected="a readable database and room on the disk",
            fix="Free space if the disk is full, else delete this step's work folder; run again.",
        ) from error


def read_edges(database: Path, colmap_ids: NDArray[np.int64]) -> Edges:
    """Read the verified pairs that have a relative pose.

    Args:
        database: COLMAP database.
        colmap_ids: Ids of the photos in ascending order; their places become the rows.
    """
    with pycolmap.Database.open(database) as opened:
        keys, geometries = opened.read_two_view_geometries()
    kept = [
        (pycolmap.pair_id_to_image_pair(key), geometry.cam2_from_cam1, geometry)
        for key, geometry in zip(keys, geometries, strict=True)
        if len(geometry.inlier_matches)
    ]
    posed = [(ids, pose, geometry) for ids, pose, geometry in kept if pose is not None]
    ids = np.array([row[0] for row in posed], dtype=np.int64).reshape(-1, 2)
    return Edges(
        rows=np.searchsorted(colmap_ids, ids).astype(np.int64),
        rotation=np.array([pose.rotation.matrix() for _, pose, _ in posed]).reshape(-1, 3, 3),
        translation=np.array([pose.translation for _, pose, _ in posed]).reshape(-1, 3),
        n_inliers=np.array([len(row[2].inlier_matches) for row in posed], dtype=np.int64),
        config=np.array([int(row[2].config) for row in posed], dtype=np.int64),
    )
