"""Features of any photos in any COLMAP database, restartable after every chunk."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pycolmap

from citysplat_core.errors import FeatureError
from citysplat_core.features.backend import backend_named
from citysplat_core.features.database import connected
from citysplat_core.features.learned_store import TABLE, has_table
from citysplat_core.features.quiet import quiet_colmap
from citysplat_core.settings import FeatureSettings
from citysplat_core.storage import Progress, no_progress

logger = logging.getLogger(__name__)

CHUNK_SIZE: Final = 16
"""Photos between two reports of progress; what a kill can cost."""
_PHOTO_ENDINGS: Final = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")


def extract_features(
    database: Path,
    photos: Path,
    names: Sequence[str] | None = None,
    *,
    settings: FeatureSettings | None = None,
    n_threads: int = 1,
    progress: Progress = no_progress,
) -> None:
    """Extract keypoints and descriptors of a folder's photos into a COLMAP database.

    Photos that the database does not list are entered as COLMAP enters them: a camera of its own
    each unless EXIF says that it is the same, positions from EXIF as priors. A photo that has
    features is passed over, so a killed call is gone on with by the same call. Photos in which
    nothing is found get a row without keypoints.

    Args:
        database: The COLMAP database; it is made if there is none.
        photos: Folder of the photos.
        names: Paths of the photos in that folder; None for all photos in it and below.
        settings: Backend and limits; the defaults if None.
        n_threads: Threads to use; the features do not depend on it.
        progress: Called after every chunk of photos.

    Raises:
        FeatureError: The backend cannot run, or photos are missing or cannot be read.
        StorageError: The database is damaged, or the disk is full.
    """
    wanted = _photos_in(photos) if names is None else list(names)
    absent = [name for name in wanted if not (photos / name).is_file()]
    if absent:
        raise FeatureError(
            f"{len(absent)} of {len(wanted)} photos are not on disk ({', '.join(absent[:3])})",
            expected=f"every photo in {photos}",
            fix="Correct the folder or the names.",
        )
    ids = _enter(database, photos, wanted)
    asked = settings or FeatureSettings()
    backend = backend_named(asked.backend)
    finished = _finished_ids(database, backend.kinds)
    todo = [name for name in wanted if ids[name] not in finished]
    n_done = len(wanted) - len(todo)
    if n_done:
        logger.info("%d of %d photos were done before", n_done, len(wanted))
    for first in range(0, len(todo), CHUNK_SIZE):
        progress(n_done + first, len(wanted), "photos")
        chunk = todo[first : first + CHUNK_SIZE]
        backend.extract(database, photos, chunk, settings=asked, n_threads=n_threads)
        _mark_featureless(database, [ids[name] for name in chunk], backend.kinds)
    progress(len(wanted), len(wanted), "photos")


def _photos_in(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.suffix.lower() in _PHOTO_ENDINGS)
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    if not names:
        raise FeatureError(
            f"{folder} holds no photos",
            expected=f"files that end in {', '.join(_PHOTO_ENDINGS)}",
            fix="Correct the folder.",
        )
    return names


def _enter(database: Path, photos: Path, names: Sequence[str]) -> dict[str, int]:
    """List photos in the database, if it does not; return the id of every name."""
    if not database.exists():
        pycolmap.Database.open(database).close()  # makes one
    ids = _ids_of(database)
    missing = [name for name in names if name not in ids]
    if missing:
        with quiet_colmap():
            pycolmap.import_images(database, photos, image_names=missing)
        ids = _ids_of(database)
    unread = [name for name in missing if name not in ids]
    if unread:
        raise FeatureError(
            f"{len(unread)} of {len(names)} photos cannot be read ({', '.join(unread[:3])})",
            expected="whole pictures of a common format",
            fix="Remove or replace them.",
        )
    return ids


def _ids_of(database: Path) -> dict[str, int]:
    with connected(database) as connection:
        return {str(name): int(key) for name, key in connection.execute(_IDS)}


_IDS: Final = "SELECT name, image_id FROM images"


def _finished_ids(database: Path, kinds: tuple[str, ...]) -> set[int]:
    query = "SELECT k.image_id FROM keypoints k JOIN descriptors d ON k.image_id = d.image_id"
    learned = set(kinds) - {"sift"}
    with connected(database) as connection:
        if learned and not has_table(connection):
            return set()
        if learned:
            query += f" JOIN {TABLE} l ON k.image_id = l.image_id"
        return {int(row[0]) for row in connection.execute(query)}


def _mark_featureless(database: Path, colmap_ids: list[int], kinds: tuple[str, ...]) -> None:
    """Give a photo in which nothing was found empty tables, so that every reader finds its row."""
    finished = _finished_ids(database, kinds)
    missing = [key for key in colmap_ids if key not in finished]
    if not missing:
        return
    logger.warning("%d photos gave no features (colmap ids %s)", len(missing), missing[:3])
    empty = pycolmap.FeatureDescriptors(
        pycolmap.FeatureExtractorType.SIFT, np.zeros((0, 128), dtype=np.uint8)
    )
    with pycolmap.Database.open(database) as opened, pycolmap.DatabaseTransaction(opened):
        for key in missing:
            if not opened.exists_keypoints(key):
                opened.write_keypoints(key, np.zeros((0, 6), dtype=np.float32))
            if not opened.exists_descriptors(key):
                opened.write_descriptors(key, empty)
