"""SIFT by pycolmap: no weights, sub-pixel keypoints, on the GPU where pycolmap has CUDA."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pycolmap

from citysplat_core.errors import FeatureError
from citysplat_core.features.device import colmap_device, has_gpu
from citysplat_core.features.quiet import quiet_colmap
from citysplat_core.settings import FeatureSettings


class SiftBackend:
    """COLMAP's SIFT: RootSIFT descriptors, at most two orientations a point."""

    kinds: ClassVar[tuple[str, ...]] = ("sift",)

    def extract(
        self,
        database: Path,
        photos: Path,
        names: Sequence[str],
        *,
        settings: FeatureSettings,
        n_threads: int,
    ) -> None:
        """Extract SIFT features; about 0.4 CPU-s for a 640x480 photo, 1.1 for 1024x768.

        Args:
            database: COLMAP database with the images' rows.
            photos: Folder of the photos.
            names: Image names to work on; those that have features are passed over.
            settings: The whole feature settings.
            n_threads: Threads to use.

        Raises:
            FeatureError: COLMAP could not read the photos or write the database.
        """
        # The learned extractors that pycolmap lists end the whole process in the wheels, which
        # are built without ONNX: SIFT is named here and not left to a setting.
        options = pycolmap.FeatureExtractionOptions(
            type=pycolmap.FeatureExtractorType.SIFT,
            num_threads=n_threads,
            max_image_size=settings.max_image_px,
            use_gpu=has_gpu(),
        )
        options.sift.max_num_features = settings.max_features
        try:
            with quiet_colmap():
                pycolmap.extract_features(
                    database,
                    photos,
                    image_names=list(names),
                    extraction_options=options,
                    device=colmap_device(),
                )
        except (RuntimeError, ValueError) as error:
            raise FeatureError(
                f"COLMAP could not extract features of {len(names)} photos: {error}",
                expected="readable photos and room on the disk",
                fix="Free space if the disk is full, else delete this step's work folder;"
                " run again.",
            ) from error
