"""Match descriptors and verify geometry of proposed pairs, in chunks, restartable."""

import tempfile
from collections.abc import Mapping, Sequence
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
from citysplat_core.matching.geometries import fit_geometries, verification_options
from citysplat_core.matching.matchers import add_matches, clear_matches, matcher_named, matchers_for
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import Progress, no_progress

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
    names: Mapping[int, str] | None = None,
    *,
    settings: MatchingSettings | None = None,
    n_threads: int = 1,
    progress: Progress = no_progress,
) -> None:
    """Match and verify image pairs inside a database; pairs that it has already are passed over.

    Args:
        database: COLMAP database with keypoints and descriptors; nobody else has it open.
        pairs: Colmap ids of the two images.
        names: Image name of every colmap id; read from the database if None.
        settings: Matching settings, the defaults if None; the seed makes the verification
            repeatable.
        n_threads: Threads to use; the result does not depend on it.
        progress: Called after every chunk.

    Raises:
        MatchingError: COLMAP could not read or write the database, or an image name has a space.
    """
    settings = settings or MatchingSettings()
    known = _names_of(database) if names is None else names
    _refuse_spaces(known)
    done = finished_pairs(database)
    todo = order_pairs([pair for pair in pairs if pair_id_of(*pair) not in done])
    n_done = len(pairs) - len(todo)
    wanted = matchers_for(database, settings.matcher)
    learned = [matcher_named(name) for name in wanted if name != "sift"] if todo else []
    for chunk in chunks_of(todo, chunks.FIRST_PAIRS_LEARNED if learned else chunks.FIRST_PAIRS):
        progress(n_done, len(pairs), "pairs")
        n_done += len(chunk)
        if learned:
            clear_matches(database, chunk)
        if "sift" in wanted or not learned:
            named = [(known[a], known[b]) for a, b in chunk]
            _match_chunk(database, named, settings, n_threads, verified=not learned)
        for matcher in learned:
            add_matches(database, chunk, matcher, n_threads=n_threads)
        if learned:
            fit_geometries(database, chunk, settings, n_threads=n_threads)
    progress(len(pairs), len(pairs), "pairs")


def finished_pairs(database: Path) -> set[int]:
    """Return COLMAP's ids of the pairs that were verified, with success or without."""
    query = "SELECT pair_id FROM two_view_geometries"
    with connected(database) as connection:
        return {int(row[0]) for row in connection.execute(query)}


def _names_of(database: Path) -> dict[int, str]:
    with connected(database, read_only=True) as connection:
        return dict(connection.execute("SELECT image_id, name FROM images"))


def _refuse_spaces(names: Mapping[int, str]) -> None:
    """COLMAP's list of pairs has no way to write such a name; it would pass over the pair."""
    spaced = [name for name in names.values() if any(map(str.isspace, name))]
    if spaced:
        raise MatchingError(
            f"{len(spaced)} of {len(names)} image names have a space ({spaced[0]!r})",
            expected="names without spaces, as COLMAP's lists of pairs want them",
            fix="Rename the photos, and enter them in the database anew.",
        )


def _match_chunk(
    database: Path,
    pairs: Sequence[tuple[str, str]],
    settings: MatchingSettings,
    n_threads: int,
    *,
    verified: bool,
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
    verification = verification_options(settings)
    try:
        with tempfile.TemporaryDirectory() as place, quiet_colmap():
            listed = Path(place) / "pairs.txt"
            listed.write_text("".join(f"{a} {b}\n" for a, b in pairs))
            pairing = pycolmap.ImportedPairingOptions(match_list_path=listed)
            pycolmap.match_image_pairs(database, matching, pairing, verification, colmap_device())
    except (RuntimeError, ValueError) as error:
        raise MatchingError(
            f"COLMAP could not match {len(pairs)} pairs of {database.name}: {error}",
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
