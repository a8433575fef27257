"""Let new photos join a model that is finished: registered, tested against GPS, adjusted around.

The model stays where it is. Only the photos next to a new one, and the points that they see, move a
little; the cost follows the new photos and not the size of the model.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pycolmap

from citysplat_core.mapping.mappers import MapJob, incremental_options
from citysplat_core.mapping.vouching import is_vouched_for

_GATE_M: Final = 12.0
_GATE_MEDIANS: Final = 4.0


@dataclass
class _Extension:
    """A finished model while photos join it."""

    job: MapJob
    mapper: pycolmap.IncrementalMapper
    options: pycolmap.IncrementalPipelineOptions
    model: pycolmap.Reconstruction
    residual_m: dict[int, float]
    limit_m: float


def leave_model(model: pycolmap.Reconstruction, gone: Collection[int]) -> None:
    """Take photos out of a model, and everything that only they saw.

    Args:
        model: Changed in place; photos without a pose are forgotten, too.
        gone: Colmap ids; those that the model does not hold are passed over.
    """
    for image_id in sorted(set(gone) & set(model.reg_image_ids())):
        model.deregister_frame(model.image(image_id).frame_id)
    model.tear_down()


def extend_model(
    model: pycolmap.Reconstruction,
    cache: pycolmap.DatabaseCache,
    *,
    candidates: Collection[int],
    job: MapJob,
    n_registered: int = 0,
) -> set[int]:
    """Register photos in a finished model.

    Args:
        model: In the city frame, changed in place. Each of its photos is in the cache, with as many
            keypoints.
        cache: The workspace: photos, keypoints, verified pairs.
        candidates: Colmap ids of the photos that may join.
        job: Positions that the photos are tested against, partners that speak for a photo whose
            position is wrong, settings, limits, and who is told.
        n_registered: Photos in other models, for the telling.

    Returns:
        The photos that have joined.

    Raises:
        ValueError: COLMAP cannot take the model up.
    """
    options = incremental_options(job)
    mapper = pycolmap.IncrementalMapper(cache)
    mapper.begin_reconstruction(model)
    residual_m = residuals_of(model, job.positions)
    median_m = float(np.median(list(residual_m.values()) or [0.0]))
    extension = _Extension(
        job, mapper, options, model, residual_m, max(_GATE_M, _GATE_MEDIANS * median_m)
    )
    left, joined = set(candidates) - set(model.reg_image_ids()), set[int]()
    while left and not job.watch.must_stop():
        image_id = _register_next(extension, left)
        if image_id is None:
            break
        left.discard(image_id)
        joined.add(image_id)
        job.tick(n_registered + model.num_reg_images(), model)
    mapper.end_reconstruction(False)  # noqa: FBT003 - COLMAP's binding has no keyword
    model.update_point_3d_errors()
    return joined & set(model.reg_image_ids())


def residuals_of(
    model: pycolmap.Reconstruction, positions: Mapping[int, np.ndarray]
) -> dict[int, float]:
    """Give the horizontal distance from GPS of every photo of a placed model that has one."""
    return {i: _residual_m(model, i, positions) for i in model.reg_image_ids() if i in positions}


def _residual_m(
    model: pycolmap.Reconstruction, image_id: int, positions: Mapping[int, np.ndarray]
) -> float:
    off = model.image(image_id).projection_center() - positions[image_id]
    return float(np.hypot(off[0], off[1]))


def _register_next(extension: _Extension, left: set[int]) -> int | None:
    """Register the next photo that GPS agrees with; photos that it refuses leave ``left``."""
    steps, mapper = extension.options.get_mapper(), extension.mapper
    triangulation = extension.options.get_triangulation()
    for image_id in mapper.find_next_images(steps, structure_less=False):
        if image_id not in left or not mapper.register_next_image(steps, image_id):
            continue
        if _is_misplaced(extension, image_id):
            frame_id = extension.model.image(image_id).frame_id
            mapper.observation_manager.deregister_frame(frame_id)
            left.discard(image_id)
            continue
        mapper.triangulate_image(triangulation, image_id)
        mapper.iterative_local_refinement(
            extension.options.ba_local_max_refinements,
            extension.options.ba_local_max_refinement_change,
            steps,
            extension.options.get_local_bundle_adjustment(),
            triangulation,
            image_id,
        )
        return int(image_id)
    return None


def _is_misplaced(extension: _Extension, image_id: int) -> bool:
    job, model, limit_m = extension.job, extension.model, extension.limit_m
    if image_id not in job.positions:
        return False
    residual_m = extension.residual_m
    residual_m[image_id] = _residual_m(model, image_id, job.positions)
    return residual_m[image_id] > limit_m and not is_vouched_for(
        model, image_id,
        partners=job.partners, beside=job.beside, residual_m=residual_m, limit_m=limit_m,
    )  # fmt: skip
