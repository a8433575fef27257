"""Mappers behind one small interface: a database in, reconstructions out."""

import logging
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import pycolmap

from citysplat_core.errors import MappingError
from citysplat_core.features import quiet_colmap
from citysplat_core.mapping.georegister import Positions
from citysplat_core.mapping.vouching import Partners
from citysplat_core.mapping.workspace import EXACT_MODEL
from citysplat_core.settings import MappingSettings

log = logging.getLogger(__name__)

_BEAT_S: Final = 2.0

FAST: Final[Mapping[str, Any]] = {
    "ba_global_frames_ratio": 1.4,
    "ba_global_points_ratio": 1.4,
    "ba_global_max_num_iterations": 20,
    "ba_global_max_refinements": 2,
    "ba_global_function_tolerance": 1e-6,
    "ba_local_function_tolerance": 1e-6,
}
"""Fewer and shorter bundle adjustments; COLMAP's defaults cost several times more."""


@dataclass(frozen=True, kw_only=True)
class MapJob:
    """What a mapper is given.

    Attributes:
        database: The workspace database.
        photos: Folder with the photos by COLMAP name (only the global mapper looks at them).
        out: An empty folder for the mapper's own files.
        positions: GPS positions by colmap_id, city frame, metres.
        partners: Verified partners of every photo, strongest first.
        fixed_cameras: Cameras whose intrinsics are not refined.
        settings: Settings of the step.
        n_threads: Threads to use.
        tick: Called after every registered photo, as far as the mapper tells.
        beat: Called every few seconds by a mapper that does not tell.
    """

    database: Path
    photos: Path
    out: Path
    positions: Positions
    partners: Partners
    fixed_cameras: frozenset[int]
    settings: MappingSettings
    n_threads: int
    tick: Callable[[], None]
    beat: Callable[[], None]


class Mapper(Protocol):
    """Solve a workspace; models may come in any frame and share photos."""

    def __call__(self, job: MapJob) -> list[pycolmap.Reconstruction]:
        """Give the models, the largest first."""
        ...


def incremental_options(job: MapJob) -> pycolmap.IncrementalPipelineOptions:
    """Give options that survive forward motion and few shared points, as streets have them.

    COLMAP's defaults want wide initial baselines and 30 inliers a pose; on a walk along a street
    they find no start, or lose the street at the first gap. What the looser limits let in by
    mistake, the check against GPS takes out.
    """
    settings = job.settings
    options = pycolmap.IncrementalPipelineOptions(
        num_threads=job.n_threads,
        random_seed=settings.seed,
        extract_colors=False,
        min_num_matches=settings.min_matches,
        min_model_size=settings.min_model_size,
        max_model_overlap=20,
        max_runtime_seconds=settings.max_runtime_s,
        constant_cameras=set(job.fixed_cameras),
        **FAST,
    )
    options.mapper.constant_cameras = set(job.fixed_cameras)
    options.mapper.init_min_tri_angle = 6.0
    options.mapper.init_min_num_inliers = 50
    options.mapper.init_max_forward_motion = 1.0  # a dash-cam moves straight ahead
    # Its six-point solver takes hours where a few photos of a box fit nowhere, and adds none.
    options.structure_less_registration_fallback = False
    options.mapper.abs_pose_min_num_inliers = 15
    options.mapper.abs_pose_min_inlier_ratio = 0.15
    options.mapper.filter_min_tri_angle = 1.0
    options.triangulation.min_angle = 1.0
    return options


def map_incremental(job: MapJob) -> list[pycolmap.Reconstruction]:
    """Grow models photo by photo (COLMAP's incremental mapper, all in C++)."""
    models = pycolmap.incremental_mapping(
        job.database,
        job.photos,
        job.out,
        incremental_options(job),
        next_image_callback=job.tick,
    )
    return by_size(models.values(), job.settings.min_model_size)


def map_global(job: MapJob) -> list[pycolmap.Reconstruction]:
    """Solve all rotations, then all positions at once (GLOMAP inside COLMAP).

    It registers nearly everything and may bend: only the check against GPS makes it usable. It has
    no time limit and does not tell how far it is.
    """
    options = pycolmap.GlobalPipelineOptions(
        num_threads=job.n_threads,
        random_seed=job.settings.seed,
        min_num_matches=job.settings.min_matches,
        min_model_size=job.settings.min_model_size,
    )
    if keeps_all_intrinsics(job):
        options.mapper.bundle_adjustment.refine_focal_length = False
        options.mapper.bundle_adjustment.refine_extra_params = False
    with ThreadPoolExecutor(1) as pool:  # COLMAP releases the lock, so that this thread can beat
        future = pool.submit(pycolmap.global_mapping, job.database, job.photos, job.out, options)
        while wait([future], timeout=_BEAT_S).not_done:
            job.beat()
    models = future.result()
    return by_size(models.values(), job.settings.min_model_size)


def keeps_all_intrinsics(job: MapJob) -> bool:
    """Say whether no camera is refined: it is all or nothing in the global mapper.

    A wish to keep some intrinsics keeps all of them; only the exact cameras of views of panoramas,
    which many photos hold in place, do not speak for guessed ones beside them.
    """
    with pycolmap.Database.open(job.database) as database:
        cameras = database.read_all_cameras()
    fixed = [camera for camera in cameras if camera.camera_id in job.fixed_cameras]
    guarded = [camera for camera in fixed if camera.model_name != EXACT_MODEL]
    return bool(guarded) or len(fixed) == len(cameras)


def by_size(models: Any, min_size: int) -> list[pycolmap.Reconstruction]:  # noqa: ANN401 - any iterable
    """Drop too small models and sort the rest by falling size."""
    kept = [model for model in models if model.num_reg_images() >= min_size]
    return sorted(kept, key=lambda model: (-model.num_reg_images(), min(model.reg_image_ids())))


def run_mapper(
    name: str, mapper: Mapper, job: MapJob, *, box: str
) -> list[pycolmap.Reconstruction]:
    """Run a mapper, or read what it had finished before a kill.

    Args:
        name: Its name, for messages.
        mapper: The mapper.
        job: Its job; ``out`` need not exist. The folder is marked when the mapper is done.
        box: Key of the box, for messages.

    Raises:
        MappingError: COLMAP failed; carries its message.
    """
    done = job.out / "done"
    if done.is_file():
        folders = [job.out / "kept" / n for n in done.read_text().split()]
        try:
            return [pycolmap.Reconstruction(folder) for folder in folders]
        except (ValueError, RuntimeError, IndexError) as error:
            log.warning("The models kept of an earlier run are damaged; mapped again: %s", error)
    shutil.rmtree(job.out, ignore_errors=True)
    job.out.mkdir(parents=True)
    try:
        with quiet_colmap():
            models = mapper(job)
    except (ValueError, RuntimeError) as error:
        raise MappingError(
            f"the {name} mapper failed: {error}",
            expected="a database that COLMAP can map",
            fix="Try another `mapping.strategy`; if all fail, materialize box_matches again.",
            box=box,
        ) from error
    for number, model in enumerate(models):
        folder = job.out / "kept" / str(number)
        folder.mkdir(parents=True)
        model.write(folder)
    done.write_text(" ".join(str(number) for number in range(len(models))))
    return models
