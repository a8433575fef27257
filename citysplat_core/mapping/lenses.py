"""Which lenses a model may refine, and which it must believe."""

from collections import Counter
from collections.abc import Collection
from typing import Final

import numpy as np
import pycolmap

_BROAD: Final = 0.2
_TELLS_FOCAL: Final = 6
_TELLS_LENS: Final = 15


def fix_lenses(
    model: pycolmap.Reconstruction, cache: pycolmap.DatabaseCache, fixed: Collection[int]
) -> set[int]:
    """Choose the cameras whose intrinsics a model must not touch.

    Along one straight street a wrong focal length hides as a stretch of the street; two streets
    that cross cannot both be stretched. So a model that is no line may refine each camera that six
    of its photos have, or 15 if its distortion is known as well: ten photos of one straight drive
    bent such a lens until the drive was 5 % too short. Of a camera with fewer the known lens is put
    back.

    Args:
        model: Registered photos, of all or some cameras of the cache; known lenses of cameras with
            few photos are put back in it.
        cache: Its cameras have the lenses as they were given.
        fixed: Cameras that may not be refined without good reason.

    Returns:
        Camera ids.
    """
    counts = Counter(model.image(i).camera_id for i in model.reg_image_ids())
    rare = {
        camera_id
        for camera_id, camera in cache.cameras.items()
        if camera.has_prior_focal_length and counts[camera_id] < _wanted(camera)
    }
    for camera_id in rare:
        model.camera(camera_id).params = list(cache.camera(camera_id).params)
    told = (
        set()
        if _is_line(model)
        else {c for c, n in counts.items() if n >= _wanted(cache.camera(c))}
    )
    return (set(fixed) - told) | rare


def _wanted(camera: pycolmap.Camera) -> int:
    """Say how many photos tell more of a camera than what is known of it."""
    distortion = np.array(camera.params)[camera.extra_params_idxs()]
    return _TELLS_LENS if distortion.any() else _TELLS_FOCAL


def _is_line(model: pycolmap.Reconstruction) -> bool:
    centers = np.array([model.image(i).projection_center() for i in model.reg_image_ids()])
    spread = np.linalg.svd(centers - np.median(centers, axis=0), compute_uv=False)
    return bool(spread[1] < _BROAD * spread[0])
