"""Mappers behind one small interface: a database in, reconstructions out."""

import json
import logging
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import pandas as pd
import pycolmap

from citysplat_core.errors import MappingError
from citysplat_core.features import quiet_colmap
from citysplat_core.mapping.georegister import Positions
from citysplat_core.mapping.sequences import Sequences, find_beside
from citysplat_core.mapping.snapshots import Snapshots
from citysplat_core.mapping.vouching import Partners
from citysplat_core.mapping.watch import BEAT_S, Watch
from citysplat_core.mapping.workspace import EXACT_MODEL
from citysplat_core.settings import MappingSettings

log = logging.getLogger(__name__)

FAST: Final[Mapping[str, Any]] = {
    "ba_global_frames_ratio": 1.4,
    "ba_global_points_ratio": 1.4,
    "ba_global_max_num_iterations": 20,
    "ba_global_max_refinements": 2,
    "ba_global_function_tolerance": 1e-6,
    "ba_local_function_tolerance": 1e-6,
}
"""Fewer and shorter bundle adjustments; COLMAP's defaults cost several times more."""

LEAF_PHOTOS: Final = 200
"""Photos of a part of the hierarchical mapper."""


@dataclass(frozen=True, kw_only=True)
class MapJob:
    """What a mapper is given.

    Attributes:
        database: The workspace database.
        photos: Folder with the photos by COLMAP name (looked at by mappers in a process of their
            own).
        out: A folder for the mapper's own files, which outlives a kill.
        images: The photos, as `workspace.Workspace.images`.
        positions: GPS positions by colmap_id, city frame, metres.
        partners: Verified partners of every photo, strongest first.
        sequences: Photos of every sequence in their order.
        fixed_cameras: Cameras whose intrinsics are not refined.
        settings: Settings of the step.
        n_threads: Threads to use.
        tick: Called after every registered photo with the number of photos in all models so far
            and the model that grows, by a mapper that tells them.
        beat: Called every few seconds by a mapper that does not tell.
        watch: The limits of this run; says in the end whether and why it was stopped.
    """

    database: Path
    photos: Path
    out: Path
    images: pd.DataFrame
    positions: Positions
    partners: Partners
    sequences: Sequences
    fixed_cameras: frozenset[int]
    settings: MappingSettings
    n_threads: int
    tick: Callable[[int, pycolmap.Reconstruction], None]
    beat: Callable[[], None]
    watch: Watch

    @cached_property
    def beside(self) -> Partners:
        """The photos before and after each photo of a sequence."""
        return find_beside(self.sequences)


class Mapper(Protocol):
    """Solve a workspace; models may come in any frame and share photos."""

    def __call__(self, job: MapJob) -> list[pycolmap.Reconstruction]:
        """Give the models, the largest first."""
        ...


def incremental_values(job: MapJob) -> dict[str, Any]:
    """Give options that survive forward motion and few shared points, as streets have them.

    COLMAP's defaults want wide initial baselines and 30 inliers a pose; on a walk along a street
    they find no start, or lose the street at the first gap. What the looser limits let in by
    mistake, the check against GPS takes out.

    Returns:
        Values of ``pycolmap.IncrementalPipelineOptions`` by name.
    """
    settings = job.settings
    fixed = set(job.fixed_cameras)
    return {
        "num_threads": job.n_threads,
        "random_seed": settings.seed,
        "extract_colors": False,
        "min_num_matches": settings.min_matches,
        "min_model_size": settings.min_model_size,
        "max_model_overlap": 20,
        "max_runtime_seconds": settings.max_runtime_s,
        "constant_cameras": fixed,
        # Its six-point solver takes hours where a few photos of a box fit nowhere, and adds none.
        "structure_less_registration_fallback": False,
        "mapper": {
            "constant_cameras": fixed,
            "init_min_tri_angle": 6.0,
            "init_min_num_inliers": 50,
            "init_max_forward_motion": 1.0,  # a dash-cam moves straight ahead
            "abs_pose_min_num_inliers": 15,
            "abs_pose_min_inlier_ratio": 0.15,
            "filter_min_tri_angle": 1.0,
        },
        "triangulation": {
            "min_angle": 1.0,
            # Photos of sparse streets have two or three partners: points that only two see hold
            # them, too.
            "ignore_two_view_tracks": False,
        },
        **FAST,
    }


def incremental_options(job: MapJob) -> pycolmap.IncrementalPipelineOptions:
    """Give ``incremental_values`` as COLMAP takes them."""
    options = pycolmap.IncrementalPipelineOptions()
    options.mergedict(incremental_values(job))
    return options


def map_incremental(job: MapJob) -> list[pycolmap.Reconstruction]:
    """Grow models photo by photo (COLMAP's incremental mapper, all in C++).

    After a kill it goes on from the models that were finished and the newest snapshot. The result
    is whole, but not the same to the bit: the draws differ, and the photos of finished models are
    not used in later ones. The time that was spent on what is kept counts.
    """
    snapshots = Snapshots(job.out / "unfinished")
    earlier = snapshots.finished()
    snapshot = snapshots.newest(earlier)
    options = incremental_options(job)
    options.snapshot_path = snapshots.growing
    options.snapshot_frames_freq = job.settings.snapshot_every
    manager = pycolmap.ReconstructionManager()
    if snapshot is not None:
        manager.read(snapshot)
        log.info("Mapping goes on from a snapshot of %d photos", manager.get(0).num_reg_images())
    with pycolmap.Database.open(job.database) as database:
        job.watch.go_on_after(snapshots.spent_s())
        options.max_runtime_seconds = max(1, math.ceil(job.watch.left_s))  # 0: no limit
        if earlier:
            options.image_names = _names_left(database, earlier, manager)
        if (not earlier or options.image_names) and not job.watch.must_stop():
            _run_pipeline(job, options, database, manager, snapshots, earlier)
    late = [manager.get(number) for number in range(manager.size())]
    return by_size([*earlier, *late], job.settings.min_model_size)


def _names_left(
    database: pycolmap.Database,
    earlier: list[pycolmap.Reconstruction],
    manager: pycolmap.ReconstructionManager,
) -> list[str]:
    taken = {i for model in earlier for i in model.reg_image_ids()}
    if manager.size():
        taken -= set(manager.get(0).reg_image_ids())
    return [image.name for image in database.read_all_images() if image.image_id not in taken]


def _run_pipeline(
    job: MapJob,
    options: pycolmap.IncrementalPipelineOptions,
    database: pycolmap.Database,
    manager: pycolmap.ReconstructionManager,
    snapshots: Snapshots,
    earlier: list[pycolmap.Reconstruction],
) -> None:
    pipeline = pycolmap.IncrementalPipeline(options, database, manager)
    n_earlier = sum(model.num_reg_images() for model in earlier)
    n_stored = 0

    def on_photo() -> None:
        snapshots.settle(job.watch.spent_s)
        last = manager.size() - 1
        sizes = [manager.get(number).num_reg_images() for number in range(last + 1)]
        job.tick(n_earlier + sum(sizes), manager.get(last))
        if job.watch.must_stop():
            pipeline.options.max_runtime_seconds = 1  # it ends as at its own limit: in good order

    def on_model() -> None:
        nonlocal n_stored
        while n_stored < manager.size():
            snapshots.finish(manager.get(n_stored), job.watch.spent_s)
            n_stored += 1
        snapshots.forget()

    events = pycolmap.IncrementalPipelineCallback
    pipeline.add_callback(events.NEXT_IMAGE_REG_CALLBACK, on_photo)
    pipeline.add_callback(events.LAST_IMAGE_REG_CALLBACK, on_model)
    pipeline.run()
    job.watch.must_stop()  # COLMAP's own clock may have ended it between two photos


def map_global(job: MapJob) -> list[pycolmap.Reconstruction]:
    """Solve all rotations, then all positions at once (GLOMAP inside COLMAP).

    It registers nearly everything and may bend: only the check against GPS makes it usable. It does
    not tell how far it is and has nothing to show before its end, so that a limit ends it without
    a model; it runs in a process of its own, as it cannot be stopped otherwise.
    """
    return _map_in_child(
        job,
        {
            "mapper": "global",
            "keeps_intrinsics": keeps_all_intrinsics(job),
            "options": {
                "num_threads": job.n_threads,
                "random_seed": job.settings.seed,
                "min_num_matches": job.settings.min_matches,
                "min_model_size": job.settings.min_model_size,
            },
        },
    )


def map_hierarchical(job: MapJob) -> list[pycolmap.Reconstruction]:
    """Divide a large box into overlapping parts, grow each photo by photo, merge them (COLMAP).

    A box of at most ``LEAF_PHOTOS`` photos is one part. As the global mapper it tells nothing
    before its end and runs in a process of its own.
    """
    return _map_in_child(
        job,
        {
            "mapper": "hierarchical",
            "options": {
                "num_threads": job.n_threads,
                "num_workers": job.n_threads,
                "clustering_options": {"leaf_max_num_images": LEAF_PHOTOS},
                "incremental_options": incremental_values(job),
            },
        },
    )


def _map_in_child(job: MapJob, what: Mapping[str, Any]) -> list[pycolmap.Reconstruction]:
    shutil.rmtree(job.out)
    job.out.mkdir()
    told = {
        "database": str(job.database),
        "photos": str(job.photos),
        "out": str(job.out),
        "log_level": pycolmap.logging.minloglevel,
        **what,
    }
    _run_child(json.dumps(told, default=sorted), job)  # of sets lists
    folders = sorted((job.out / "models").glob("*"), key=lambda path: int(path.name))
    models = [pycolmap.Reconstruction(folder) for folder in folders]
    return by_size(models, job.settings.min_model_size)


def _run_child(told: str, job: MapJob) -> None:
    """Run a mapper in a process until it ends or a limit ends it."""
    script = Path(__file__).with_name("child_run.py")
    said = job.out / "log.txt"
    with (
        said.open("w") as log_file,
        subprocess.Popen(  # noqa: S603 - its own script, no shell
            [sys.executable, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            text=True,
        ) as child,
    ):
        try:
            assert child.stdin is not None  # noqa: S101 - it was asked for
            child.stdin.write(told + "\n")
            child.stdin.flush()
            while _is_running(child):
                job.beat()
                if job.watch.must_stop(child.pid):
                    child.kill()
        finally:
            child.kill()
    if child.returncode and not job.watch.stopped:
        lines = said.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"its process ended with {child.returncode}: {lines[-1]}")


def _is_running(child: subprocess.Popen[str]) -> bool:
    try:
        child.wait(BEAT_S)
    except subprocess.TimeoutExpired:
        return True
    return False


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

    A mapper that was killed half way finds its own files again and goes on where it can.

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
            models = [pycolmap.Reconstruction(folder) for folder in folders]
            job.watch.stopped = _read_text(job.out / "stopped")
        except (ValueError, RuntimeError, IndexError) as error:
            log.warning("The models kept of an earlier run are damaged; mapped again: %s", error)
        else:
            return models
        shutil.rmtree(job.out)
    job.out.mkdir(parents=True, exist_ok=True)
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
    shutil.rmtree(job.out / "kept", ignore_errors=True)
    for number, model in enumerate(models):
        folder = job.out / "kept" / str(number)
        folder.mkdir(parents=True)
        model.write(folder)
    (job.out / "stopped").write_text(job.watch.stopped)
    done.write_text(" ".join(str(number) for number in range(len(models))))
    shutil.rmtree(job.out / "unfinished", ignore_errors=True)
    return models


def _read_text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
