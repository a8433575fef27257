"""A mapper that asks GPS before it believes a photo's place.

The loop is COLMAP's incremental mapper, driven step by step: the first pair is chosen by its GPS
baseline, every newly registered photo must stand near its GPS position, and photos that drift away
are taken out and refused for the rest of this model. Look-alike houses register photos a street
away; nothing inside the images tells, GPS does.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
import pycolmap

from citysplat_core.mapping.georegister import georegister
from citysplat_core.mapping.lenses import fix_lenses
from citysplat_core.mapping.mappers import MapJob, by_size, incremental_options
from citysplat_core.mapping.snapshots import Snapshots
from citysplat_core.mapping.vouching import is_vouched_for

_SEED_BASELINE_M: Final = (2.0, 25.0)
_SEED_BASELINE_SHARE: Final = 0.05
_SEED_MATCHES: Final = 50
_SEED_POINTS: Final = 30
_SEED_ANGLE_DEG: Final = 4.0
_CHECK_AFTER: Final = 6
_PURGE_AFTER: Final = 12
_GATE_M: Final = 12.0
_THOROUGH: Final = MappingProxyType(
    {
        "ba_global_max_num_iterations": 50,
        "ba_global_max_refinements": 5,
        "ba_global_function_tolerance": 0.0,
    }
)
"""For the last adjustment of a joined model: COLMAP's own."""


@dataclass
class _Growth:
    """One model while it grows."""

    job: MapJob
    mapper: pycolmap.IncrementalMapper
    options: pycolmap.IncrementalPipelineOptions
    model: pycolmap.Reconstruction
    blocked: set[int] = field(default_factory=set)
    frames_at_last_ba: int = 0
    points_at_last_ba: int = 0
    n_earlier: int = 0
    may_lack_structure: bool = True


def map_geographic(job: MapJob) -> list[pycolmap.Reconstruction]:
    """Grow models one after another from the best GPS-ranked pairs.

    After a kill it goes on after the models that were finished.

    Args:
        job: The job; photos without a GPS position can join but not start a model.

    Returns:
        The models, the largest first. A photo belongs to one model only.
    """
    options = incremental_options(job)
    options.mapper.init_min_num_inliers = 40
    options.mapper.init_min_tri_angle = _SEED_ANGLE_DEG
    with pycolmap.Database.open(job.database) as database:
        cache = pycolmap.DatabaseCache.create(
            database, pycolmap.DatabaseCacheOptions(min_num_matches=job.settings.min_matches)
        )
    seeds = _seeds(cache, job)
    snapshots = Snapshots(job.out / "unfinished")
    models = snapshots.finished()
    job.watch.go_on_after(snapshots.spent_s())
    used = {i for model in models for i in model.reg_image_ids()}
    mapper = pycolmap.IncrementalMapper(cache)
    for _, a, b in seeds:
        if job.watch.must_stop():
            break
        if a in used or b in used:
            continue
        growth = _start(job, mapper, options, (a, b))
        if growth is None:
            continue
        growth.blocked |= used
        growth.n_earlier = len(used)
        _grow(growth)
        ids = set(growth.model.reg_image_ids())
        keep = len(ids) >= job.settings.min_model_size
        if keep:
            growth.model.update_point_3d_errors()
            models.append(growth.model)
            used |= ids
        mapper.end_reconstruction(not keep)
        if keep:
            snapshots.finish(growth.model, job.watch.spent_s)
    return by_size(models, job.settings.min_model_size)


def _seeds(cache: pycolmap.DatabaseCache, job: MapJob) -> list[tuple[float, int, int]]:
    """Rank pairs by matches times baseline, best first; beyond 12 m more baseline adds nothing."""
    places = np.array(list(job.positions.values()))[:, :2]
    reach_m = float(np.hypot(*np.ptp(np.percentile(places, [5, 95], axis=0), axis=0)))
    shortest_m = min(_SEED_BASELINE_M[0], _SEED_BASELINE_SHARE * reach_m)
    counts = cache.correspondence_graph.num_matches_between_all_images()
    ranked = []
    for pair_id, n_matches in counts.items():
        a, b = pycolmap.pair_id_to_image_pair(pair_id)
        if n_matches < _SEED_MATCHES or a not in job.positions or b not in job.positions:
            continue
        baseline_m = float(np.linalg.norm(job.positions[a][:2] - job.positions[b][:2]))
        if shortest_m <= baseline_m <= _SEED_BASELINE_M[1]:
            ranked.append((n_matches * min(baseline_m, 12.0), a, b))
    return sorted(ranked, key=lambda seed: (-seed[0], seed[1], seed[2]))


def _start(
    job: MapJob,
    mapper: pycolmap.IncrementalMapper,
    options: pycolmap.IncrementalPipelineOptions,
    pair: tuple[int, int],
) -> _Growth | None:
    """Start a model from a pair; None (and nothing left begun) if it does not hold."""
    model = pycolmap.Reconstruction()
    mapper.begin_reconstruction(model)
    steps = options.get_mapper()
    motion = mapper.estimate_initial_two_view_geometry(steps, *pair)
    if motion is None:
        mapper.end_reconstruction(True)  # noqa: FBT003 - COLMAP's binding has no keyword
        return None
    mapper.register_initial_image_pair(steps, *pair, motion)
    triangulation = options.get_triangulation()
    triangulation.min_angle = _SEED_ANGLE_DEG
    for image_id in pair:
        mapper.triangulate_image(triangulation, image_id)
    if model.num_points3D() >= _SEED_POINTS:
        mapper.adjust_global_bundle(steps, options.get_global_bundle_adjustment())
        model.normalize()
        mapper.filter_points(steps)
    if model.num_points3D() < _SEED_POINTS or model.num_reg_images() < 2:
        mapper.end_reconstruction(True)  # noqa: FBT003 - COLMAP's binding has no keyword
        return None
    return _Growth(job, mapper, options, model, set(), 2, model.num_points3D())


def grow_from(
    job: MapJob,
    cache: pycolmap.DatabaseCache,
    model: pycolmap.Reconstruction,
    *,
    elsewhere: Collection[int] = (),
) -> None:
    """Give registered photos their points, adjust all, and register what can be seen now.

    Args:
        job: The job.
        cache: Of the job's database.
        model: Photos with poses in one frame, with or without points; it is changed. Photos that
            contradict GPS, or that nothing holds, are taken out.
        elsewhere: Photos that belong to other models: they are not registered.
    """
    mapper = pycolmap.IncrementalMapper(cache)
    mapper.begin_reconstruction(model)
    options = incremental_options(job)
    _keep_lenses(options, fix_lenses(model, cache, job.fixed_cameras))
    # What a model of hundreds of photos has no points for costs hours and is worth little.
    growth = _Growth(job, mapper, options, model, set(elsewhere), may_lack_structure=False)
    triangulation = growth.options.get_triangulation()
    for image_id in sorted(model.reg_image_ids()):
        mapper.triangulate_image(triangulation, image_id)
    mapper.complete_and_merge_tracks(triangulation)
    _refine_all(growth)
    _grow(growth)
    _keep_lenses(options, fix_lenses(model, cache, job.fixed_cameras))
    for name, value in _THOROUGH.items():
        setattr(options, name, value)
    _refine_all(growth)
    model.update_point_3d_errors()
    mapper.end_reconstruction(False)  # noqa: FBT003 - COLMAP's binding has no keyword


def _keep_lenses(options: pycolmap.IncrementalPipelineOptions, fixed: set[int]) -> None:
    options.constant_cameras = fixed
    options.mapper.constant_cameras = fixed


def _grow(growth: _Growth) -> None:
    """Register photos until none is left; then refine once more and give it one more round."""
    for _ in range(2):
        before = growth.model.num_reg_images()
        while not growth.job.watch.must_stop() and _register_next(growth):
            growth.job.tick(growth.n_earlier + growth.model.num_reg_images(), growth.model)
            if _is_due(growth):
                _refine_all(growth)
        _refine_all(growth)
        if growth.model.num_reg_images() <= before:
            return


def _register_next(growth: _Growth) -> bool:
    """Register one more photo that GPS agrees with, and refine around it."""
    steps = growth.options.get_mapper()
    for structure_less in (False, True) if growth.may_lack_structure else (False,):
        for image_id in growth.mapper.find_next_images(steps, structure_less=structure_less):
            if image_id in growth.blocked:
                continue
            register = (
                growth.mapper.register_next_structure_less_image
                if structure_less
                else growth.mapper.register_next_image
            )
            if not register(steps, image_id):
                continue
            if _is_misplaced(growth, image_id):
                _take_out(growth, image_id)
                continue
            growth.mapper.triangulate_image(growth.options.get_triangulation(), image_id)
            growth.mapper.iterative_local_refinement(
                growth.options.ba_local_max_refinements,
                growth.options.ba_local_max_refinement_change,
                steps,
                growth.options.get_local_bundle_adjustment(),
                growth.options.get_triangulation(),
                image_id,
            )
            return True
    return False


def _residuals(growth: _Growth) -> dict[int, float]:
    settings = growth.job.settings
    placed = georegister(
        growth.model, growth.job.positions, sigma_m=settings.gps_sigma_m, seed=settings.seed
    )
    return placed.residual_m if placed else {}


def _is_misplaced(growth: _Growth, image_id: int) -> bool:
    if growth.model.num_reg_images() <= _CHECK_AFTER:
        return False
    residual = _residuals(growth)
    if image_id not in residual:
        return False
    limit_m = max(_GATE_M, 4 * float(np.median(list(residual.values()))))
    return residual[image_id] > limit_m and not _is_vouched_for(growth, image_id, residual, limit_m)


def _is_vouched_for(
    growth: _Growth, image_id: int, residual_m: dict[int, float], limit_m: float
) -> bool:
    return is_vouched_for(
        growth.model,
        image_id,
        partners=growth.job.partners,
        beside=growth.job.beside,
        residual_m=residual_m,
        limit_m=limit_m,
    )


def _take_out(growth: _Growth, image_id: int) -> None:
    frame_id = growth.model.image(image_id).frame_id
    growth.mapper.observation_manager.deregister_frame(frame_id)
    growth.blocked.add(image_id)


def _is_due(growth: _Growth) -> bool:
    frames = growth.model.num_reg_frames()
    points = growth.model.num_points3D()
    return bool(
        frames >= growth.options.ba_global_frames_ratio * growth.frames_at_last_ba
        or points >= growth.options.ba_global_points_ratio * growth.points_at_last_ba
    )


def _refine_all(growth: _Growth) -> None:
    """Adjust the whole model, then take out what has drifted away from GPS."""
    steps = growth.options.get_mapper()
    growth.mapper.iterative_global_refinement(
        growth.options.ba_global_max_refinements,
        growth.options.ba_global_max_refinement_change,
        steps,
        growth.options.get_global_bundle_adjustment(),
        growth.options.get_triangulation(),
    )
    growth.mapper.filter_frames(steps)
    if growth.model.num_reg_images() >= _PURGE_AFTER:
        residual = _residuals(growth)
        limit_m = max(2 * _GATE_M, 6 * float(np.median(list(residual.values() or [0.0]))))
        far = [i for i, r in residual.items() if r > limit_m]
        for image_id in [i for i in far if not _is_vouched_for(growth, i, residual, limit_m)]:
            _take_out(growth, image_id)
    growth.frames_at_last_ba = growth.model.num_reg_frames()
    growth.points_at_last_ba = growth.model.num_points3D()
