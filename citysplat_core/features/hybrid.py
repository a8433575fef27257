"""SIFT and XFeat in one image: exact keypoints and wide baselines in one model."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from citysplat_core.features.sift import SiftBackend
from citysplat_core.features.xfeat import KIND, XFeatBackend
from citysplat_core.settings import FeatureSettings


class HybridBackend:
    """SIFT's keypoints first and XFeat's after them; each kind is matched by its own matcher.

    Raises:
        FeatureError: The extra ``learned`` is not installed.
    """

    kinds: ClassVar[tuple[str, ...]] = ("sift", KIND)

    def __init__(self) -> None:
        """Load the network."""
        self._sift, self._xfeat = SiftBackend(), XFeatBackend()

    def extract(
        self,
        database: Path,
        photos: Path,
        names: Sequence[str],
        *,
        settings: FeatureSettings,
        n_threads: int,
    ) -> None:
        """Extract both kinds; killed between the two, the next call adds what is missing.

        Args:
            database: COLMAP database with the images' rows.
            photos: Folder of the photos.
            names: Image names to work on.
            settings: The whole feature settings.
            n_threads: Threads to use; the result does not depend on it.

        Raises:
            FeatureError: A photo cannot be read, or COLMAP could not write the database.
        """
        for backend in (self._sift, self._xfeat):
            backend.extract(database, photos, names, settings=settings, n_threads=n_threads)
