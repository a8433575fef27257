"""Features of hloc (Hierarchical-Localization), where a user has installed it.

hloc is in no package registry. It is looked for when a city asks for it, never imported before.
SIFT descriptors (128 non-negative dimensions) go through COLMAP's matcher; all others are kept as
learned ones, in a byte a value, for a matcher of hloc's own (``matching.matcher = "hloc:NAME"``).
"""

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pycolmap
from numpy.typing import NDArray

from citysplat_core.errors import FeatureError
from citysplat_core.features.database import connected
from citysplat_core.features.hloc_files import opened_h5
from citysplat_core.features.learned_store import append_features, create_table
from citysplat_core.settings import FeatureSettings

KIND: Final = "hloc"
"""Name of hloc's learned features in a database."""

INSTALL: Final = (
    'pip install "git+https://github.com/cvg/Hierarchical-Localization'
    '@c13273bd0ecc2917a35910fd843712a1c6243193"'
)
"""The pinned install that this adapter was written for."""


class HlocBackend:
    """One of hloc's extractor configurations.

    Args:
        conf: Name of the configuration in ``hloc.extract_features.confs``, as ``sift``.

    Raises:
        FeatureError: hloc is not installed, or no configuration is named.
    """

    kinds: ClassVar[tuple[str, ...]] = ("sift",)

    def __init__(self, conf: str) -> None:
        """Refuse at once what cannot work."""
        if not conf:
            raise FeatureError(
                "feature backend hloc names no configuration",
                expected="hloc:NAME, as hloc:sift",
                fix="Correct features.backend in city.toml.",
            )
        if find_spec("hloc") is None or find_spec("h5py") is None:
            raise FeatureError(
                f"feature backend hloc:{conf} was asked for and hloc is not installed",
                expected="the packages hloc and h5py",
                fix=f'Install it with `{INSTALL}`, or set features.backend = "sift".',
            )
        self._conf = conf

    def extract(
        self,
        database: Path,
        photos: Path,
        names: Sequence[str],
        *,
        settings: FeatureSettings,
        n_threads: int,
    ) -> None:
        """Run hloc on the photos and write its keypoints and descriptors into the database.

        Args:
            database: COLMAP database with the images' rows.
            photos: Folder of the photos.
            names: Image names to work on.
            settings: The whole feature settings.
            n_threads: Threads over which torch splits an operation on the CPU; another number can
                change last digits.

        Raises:
            FeatureError: hloc has no such configuration.
        """
        from hloc import extract_features

        from citysplat_core.features.torch_threads import split_over

        if self._conf not in extract_features.confs:
            raise FeatureError(
                f"hloc has no configuration {self._conf!r}",
                expected=f"one of {', '.join(sorted(extract_features.confs))}",
                fix="Correct features.backend in city.toml.",
            )
        conf = {**extract_features.confs[self._conf]}
        conf["preprocessing"] = {**conf["preprocessing"], "resize_max": settings.max_image_px}
        with tempfile.TemporaryDirectory(dir=database.parent) as folder, split_over(n_threads):
            h5 = Path(folder) / "features.h5"
            # hloc's default stores keypoints as float16: a grid of one pixel above 1024 px.
            extract_features.main(
                conf, photos, image_list=list(names), feature_path=h5, as_half=False
            )
            import_hloc_features(h5, database, names)


def import_hloc_features(h5: Path, database: Path, names: Sequence[str]) -> None:
    """Copy keypoints and descriptors of an hloc ``features.h5`` into a COLMAP database.

    hloc puts (0, 0) at the centre of the top-left pixel, COLMAP at its corner: 0.5 is added.

    Args:
        h5: hloc's file: a group an image with ``keypoints`` (N, 2) and ``descriptors`` (D, N).
        database: COLMAP database with the images' rows.
        names: Image names to copy; those that have features in the database are passed over.

    Raises:
        FeatureError: The file is none of HDF5, or an image is missing in it.
    """
    learned: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
    with opened_h5(h5) as file, pycolmap.Database.open(database) as opened:
        absent = [name for name in names if name not in file]
        if absent:
            raise FeatureError(
                f"{len(absent)} of {len(names)} photos are not in {h5.name} ({absent[:3]})",
                expected="a group for every photo",
                fix="Run hloc's extraction again.",
            )
        for name in names:
            image = opened.read_image_with_name(name)
            if image is None:
                raise FeatureError(
                    f"photo {name} is not in {database.name}",
                    expected="a row for every photo",
                    fix="Delete the unfinished work of this step and run it again.",
                )
            image_id = image.image_id
            if opened.exists_keypoints(image_id):
                continue
            values = np.asarray(file[name]["descriptors"][()].T, dtype=np.float32)
            keypoints = file[name]["keypoints"][()].astype(np.float32) + np.float32(0.5)
            if values.shape[1] != 128 or values.min(initial=0.0) < 0:  # not SIFT
                learned[image_id] = keypoints, values
                continue
            with pycolmap.DatabaseTransaction(opened):
                opened.write_keypoints(image_id, keypoints)
                opened.write_descriptors(image_id, _as_sift_descriptors(values))
    with connected(database) as connection:
        create_table(connection)
        for image_id, (keypoints, values) in learned.items():
            append_features(connection, image_id, KIND, keypoints, values)


def _as_sift_descriptors(values: NDArray[np.float32]) -> Any:  # noqa: ANN401 - no types there
    length = np.linalg.norm(values, axis=1, keepdims=True)
    scaled = np.rint(512.0 * values / np.maximum(length, 1e-9))  # COLMAP's scale of unit vectors
    data = np.ascontiguousarray(scaled.clip(0, 255).astype(np.uint8))
    return pycolmap.FeatureDescriptors(pycolmap.FeatureExtractorType.SIFT, data)
