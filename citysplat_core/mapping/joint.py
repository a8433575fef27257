"""Bundle adjustment of a merged model whose cameras are held softly where they stand."""

from typing import Final

import numpy as np
import pycolmap

from citysplat_core.features import quiet_colmap

_LOSSES_PX: Final = (8.0, 2.0)
"""Seams are some decimetres wide at first, many pixels: a soft round keeps them from being cut."""
_WORST_PX: Final = 4.0
_LEAST_DEG: Final = 1.0
_ROUNDS: Final = 40
_ENOUGH: Final = 1e-5
"""A round that improves the sum by a smaller share is the last: the rest is a millimetre."""


def adjust_jointly(
    model: pycolmap.Reconstruction, *, sigma_m: float, n_threads: int, seed: int
) -> None:
    """Move cameras and points until what is seen agrees; lenses stay as they are.

    Args:
        model: In metres, changed in place; points that still do not fit are taken out.
        sigma_m: How far a camera may move, one standard deviation along each axis.
        n_threads: Threads to use.
        seed: Seed of COLMAP's random draws.
    """
    priors = [_prior(model.image(i), sigma_m) for i in sorted(model.reg_image_ids())]
    with quiet_colmap():
        for loss_px in _LOSSES_PX:
            _adjust(model, priors, loss_px, n_threads, seed)
        pycolmap.ObservationManager(model).filter_all_points3D(_WORST_PX, _LEAST_DEG)
        _adjust(model, priors, _LOSSES_PX[-1], n_threads, seed)
    model.update_point_3d_errors()


def _prior(image: pycolmap.Image, sigma_m: float) -> pycolmap.PosePrior:
    return pycolmap.PosePrior(
        corr_data_id=image.data_id,
        position=image.projection_center(),
        position_covariance=np.eye(3) * sigma_m**2,
        coordinate_system=pycolmap.PosePriorCoordinateSystem.CARTESIAN,
    )


def _adjust(
    model: pycolmap.Reconstruction,
    priors: list[pycolmap.PosePrior],
    loss_px: float,
    n_threads: int,
    seed: int,
) -> None:
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = options.refine_extra_params = False
    options.print_summary = False
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = loss_px
    options.ceres.solver_options.max_num_iterations = _ROUNDS
    options.ceres.solver_options.function_tolerance = _ENOUGH
    options.ceres.solver_options.num_threads = n_threads
    held = pycolmap.PosePriorBundleAdjustmentOptions()
    held.alignment_ransac.random_seed = seed
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in model.reg_image_ids():
        config.add_image(image_id)
    pycolmap.create_pose_prior_bundle_adjuster(options, held, config, priors, model).solve()
