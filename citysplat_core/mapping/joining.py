"""Models of a box that see the same points become one model; what GPS wants apart comes apart.

A mapper gives up at a crossing: the photos beyond it see too few points of the model to be
registered one by one, and it starts anew. All photos of two such models together do see enough. A
joined model has the shape of both streets, and one scale and heading, which GPS fixes the better
the larger it is.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pycolmap

from citysplat_core.features import quiet_colmap
from citysplat_core.mapping.geographic import grow_from
from citysplat_core.mapping.georegister import poses_of
from citysplat_core.mapping.mappers import MapJob, by_size
from citysplat_core.mapping.slips import part_slips
from citysplat_core.mapping.splitting import MOST_STRAIN, level_places, split_models
from citysplat_core.mapping.strain import strain
from citysplat_core.mapping.ties import Tie, find_ties

log = logging.getLogger(__name__)

_LEAST_AGREE = 12
_LEAST_SHARE = 0.4
_ROUNDS = 4
_LOSES = 0.1

Poses = dict[int, pycolmap.Rigid3d]


@dataclass
class _Group:
    """Models that belong together, each with the similarity into the frame of the first one."""

    members: dict[int, pycolmap.Sim3d]

    def with_tie(self, other: "_Group", tie: Tie) -> "_Group":
        """Unite two groups by a tie whose ``a`` is here and whose ``b`` is there."""
        here_from_there = self.members[tie.a] * tie.a_from_b * other.members[tie.b].inverse()
        moved = {number: here_from_there * sim for number, sim in other.members.items()}
        return _Group({**self.members, **moved})


def settle_models(
    models: Sequence[pycolmap.Reconstruction], job: MapJob
) -> list[pycolmap.Reconstruction]:
    """Take apart what GPS wants apart, join what can be joined, adjust it, and let it grow on.

    In the end runs of photos that slipped by a house become models of their own.

    Args:
        models: What a mapper made, each in its own frame; they may share photos.
        job: The mapper's job. Its limits hold; when one is reached, the rest stays as it is.

    Returns:
        The models, the largest first. Joined ones hold the photos of their parts; two that agree on
        no points, or that GPS says lie otherwise, stay apart.
    """
    settings = job.settings
    found = part_slips(
        _join_all(_split(models, job), job), job.positions, job.sequences,
        sigma_m=settings.gps_sigma_m, seed=settings.seed,
    )  # fmt: skip
    return by_size(found, settings.min_model_size)


def _join_all(found: list[pycolmap.Reconstruction], job: MapJob) -> list[pycolmap.Reconstruction]:
    if len(found) < 2:
        return found
    with quiet_colmap(), pycolmap.Database.open(job.database) as database:
        cache = pycolmap.DatabaseCache.create(
            database, pycolmap.DatabaseCacheOptions(min_num_matches=job.settings.min_matches)
        )
        for _ in range(_ROUNDS):
            n_before = len(found)
            joined = _join_once(found, cache, job)
            if len(joined) == n_before:
                break
            found = _split(joined, job)
            if len(found) >= n_before:
                break  # what was joined came apart again, and would do so the next time
    return found


def _split(models: Sequence[pycolmap.Reconstruction], job: MapJob) -> list[pycolmap.Reconstruction]:
    settings = job.settings
    parts = split_models(
        models, job.positions, noise_m=settings.gps_sigma_m, shared_m=settings.gps_shared_m
    )
    return by_size(parts, settings.min_model_size)


def _join_once(
    models: Sequence[pycolmap.Reconstruction], cache: pycolmap.DatabaseCache, job: MapJob
) -> list[pycolmap.Reconstruction]:
    left = dict(enumerate(models))
    for group in _groups(models, cache, job):
        if len(group.members) == 1 or job.watch.must_stop():
            continue
        others = [m for number, m in left.items() if number not in group.members]
        elsewhere = {i for model in others for i in model.reg_image_ids()}
        whole = _join(group, models, cache, job, elsewhere)
        if whole is None:
            continue
        left = {number: model for number, model in left.items() if number not in group.members}
        left[next(iter(group.members))] = whole
        n_photos = whole.num_reg_images()
        log.info("%d models joined to one of %d photos", len(group.members), n_photos)
    return by_size(left.values(), job.settings.min_model_size)


def _groups(
    models: Sequence[pycolmap.Reconstruction], cache: pycolmap.DatabaseCache, job: MapJob
) -> list[_Group]:
    """Unite along the strongest ties that GPS does not contradict; the largest model leads."""
    group_of = {n: _Group({n: pycolmap.Sim3d()}) for n in range(len(models))}
    poses = [poses_of(model) for model in models]
    for tie in find_ties(models, cache.correspondence_graph, seed=job.settings.seed):
        if tie.n_agree < max(_LEAST_AGREE, _LEAST_SHARE * tie.n_points):
            continue
        here, there = group_of[tie.a], group_of[tie.b]
        if here is there:
            continue
        united = here.with_tie(there, tie)
        if _agrees_with_gps((here, there), united, poses, job):
            for number in united.members:
                group_of[number] = united
    return list({id(group): group for group in group_of.values()}.values())


def _agrees_with_gps(
    parts: tuple[_Group, _Group], united: _Group, poses: Sequence[Poses], job: MapJob
) -> bool:
    """Say whether GPS lets both parts be placed as one."""
    first = {i for number in parts[0].members for i in poses[number]}
    moved: Poses = {}
    for number, sim in united.members.items():
        for image_id, pose in poses[number].items():
            if image_id in job.positions:
                moved.setdefault(image_id, sim.transform_camera_world(pose))
    if not moved:
        return True  # nothing speaks against it
    said = strain(
        level_places(moved, job.positions, sigma_m=job.settings.gps_sigma_m),
        np.array([job.positions[i][:2] for i in moved]),
        np.array([i not in first for i in moved]),
        noise_m=job.settings.gps_sigma_m,
        shared_m=job.settings.gps_shared_m,
    )
    return said <= MOST_STRAIN


def _join(
    group: _Group,
    models: Sequence[pycolmap.Reconstruction],
    cache: pycolmap.DatabaseCache,
    job: MapJob,
    elsewhere: set[int],
) -> pycolmap.Reconstruction | None:
    """Make one model of a group, which may grow but not into other models.

    Returns:
        None if it loses photos by that.
    """
    first, *others = group.members
    whole = pycolmap.Reconstruction(models[first])
    whole.load(cache)
    for number in others:
        _add(whole, models[number], group.members[number])
    wanted = whole.num_reg_images()
    mine = {i for number in group.members for i in models[number].reg_image_ids()}
    grow_from(job, cache, whole, elsewhere=elsewhere - mine)
    if whole.num_reg_images() < (1 - _LOSES) * wanted:
        lost = wanted - whole.num_reg_images()
        log.info("Models lost %d of %d photos when they were joined: kept apart", lost, wanted)
        return None
    return whole


def _add(
    whole: pycolmap.Reconstruction, model: pycolmap.Reconstruction, whole_from_model: pycolmap.Sim3d
) -> None:
    """Register a model's photos; its points are made anew from the matches of all."""
    has_camera = {whole.image(i).camera_id for i in whole.reg_image_ids()}
    for image_id, pose in poses_of(model).items():
        image = whole.image(image_id)
        if image.has_pose:
            continue
        if image.camera_id not in has_camera:
            whole.camera(image.camera_id).params = list(model.camera(image.camera_id).params)
        whole.frame(image.frame_id).set_cam_from_world(
            image.camera_id, whole_from_model.transform_camera_world(pose)
        )
        whole.register_frame(image.frame_id)
