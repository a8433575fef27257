"""From a sparse model, an alignment and photos to the scene that a box is trained on."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pycolmap
from numpy.typing import NDArray

from citysplat_core.errors import SplatError
from citysplat_core.imagery.masks import read_mask
from citysplat_core.mapping import load_city_models, read_registered
from citysplat_core.splatting.views import Undistorter, View

Floats = NDArray[np.float64]

_LOG = logging.getLogger(__name__)
_MIN_USED_SHARE = 0.1


class _Photo(NamedTuple):
    """A registered photo: where its pose and its file are."""

    image_id: str
    colmap_id: int
    component: int
    is_home: bool
    sequence_id: str
    path: str


@dataclass(frozen=True, kw_only=True)
class BoxScene:
    """Everything a box is trained from.

    Attributes:
        origin_enu_m: Origin of the local frame in the city frame, metres.
        train: Photos to learn from: home photos that are not held out, and the neighbours'.
        held_out: Home photos that only measure.
        points: SfM points, local frame, metres, shape (P, 3).
    """

    origin_enu_m: tuple[float, float, float]
    train: list[View]
    held_out: list[View]
    points: Floats

    @cached_property
    def scale_m(self) -> float:
        """Largest distance of a training camera from their mean, times 1.1; at least 1, metres."""
        centres = np.array([view.centre_m for view in self.train])
        return max(1.0, 1.1 * float(np.linalg.norm(centres - centres.mean(0), axis=1).max()))


def load_scene(
    box: str,
    *,
    sparse_model: Path,
    alignment: Path,
    box_images: Mapping[str, Path],
    centre_enu_m: tuple[float, float],
    width_px: int,
    holdout_every: int,
    min_images: int,
) -> BoxScene | str:
    """Load the accepted components of a box, aligned, with their photos.

    Args:
        box: Key of the box.
        sparse_model: The box's ``sparse_model`` artifact.
        alignment: The ``city_alignment`` artifact.
        box_images: ``box_images`` artifacts by box: the box itself and its neighbours.
        centre_enu_m: East and north of the box's centre in the city frame, metres.
        width_px: Width of the training pictures.
        holdout_every: Every n-th home photo in sequence order is held out.
        min_images: With fewer registered photos there is nothing to train.

    Returns:
        The scene, or the reason why there is none.

    Raises:
        SplatError: A registered photo is in none of the ``box_images``, or cannot be read.
        MappingError: A table of the sparse model or alignment is missing.
    """
    models = load_city_models(box, sparse_model, alignment)
    rows = read_registered(sparse_model)
    rows = rows[rows["component"].isin(models)]
    if len(rows) < min_images:
        return f"{len(rows)} registered and aligned photos; a splat needs {min_images}"
    photos = _in_sequence_order(box, rows, box_images)
    images = [_find(box, models[photo.component], photo) for photo in photos]
    heights = [float(image.projection_center()[2]) for image in images]
    origin = (*centre_enu_m, float(round(np.median(heights))))
    points, place = _points(models, np.array(origin))
    views = _views(photos, images, models, place, points, np.array(origin), width_px)
    if len(views) < min_images:
        return f"{len(views)} photos that masks leave something of; a splat needs {min_images}"
    train, held_out = _split(views, holdout_every)
    return BoxScene(origin_enu_m=origin, train=train, held_out=held_out, points=points)


def _split(views: list[View], every: int) -> tuple[list[View], list[View]]:
    """Hold out every n-th home photo; a small box gives up its middle one."""
    home = [view.image_id for view in views if view.is_home]
    chosen = set(home[every - 1 :: every]) or set(home[len(home) // 2 : len(home) // 2 + 1])
    train = [view for view in views if view.image_id not in chosen]
    return train, [view for view in views if view.image_id in chosen]


def _in_sequence_order(
    box: str, rows: pd.DataFrame, box_images: Mapping[str, Path]
) -> list[_Photo]:
    """Join the registered photos with their sequences and files, as they were taken."""
    tables = []
    for key in sorted(box_images):
        columns = ["image_id", "sequence_id", "captured_at"]
        table = pd.read_parquet(box_images[key] / "images.parquet", columns=columns)
        photos = box_images[key] / "photos"
        table["path"] = [str(photos / f"{image_id}.jpg") for image_id in table["image_id"]]
        tables.append(table)
    known = pd.concat(tables).drop_duplicates("image_id")
    joined = rows.merge(known, on="image_id", how="left", validate="one_to_one")
    lost = joined[joined["path"].isna()]["image_id"].tolist()
    if lost:
        raise SplatError(
            f"{len(lost)} registered photos are in none of {len(box_images)} photo artifacts "
            f"({lost[:3]})",
            expected="the photos of the box and of all its neighbours",
            fix="Materialize box_images of the box and its neighbours, then the sparse model.",
            box=box,
        )
    joined["sequence_id"] = joined["sequence_id"].fillna("").astype(str)
    joined = joined.sort_values(["sequence_id", "captured_at", "image_id"])
    values: list[list[Any]] = [joined[name].tolist() for name in _Photo._fields]
    return [_Photo(*row) for row in zip(*values, strict=True)]


def _views(
    photos: Sequence[_Photo],
    images: Sequence[pycolmap.Image],
    models: Mapping[int, pycolmap.Reconstruction],
    place: Mapping[tuple[int, int], int],
    points: Floats,
    origin: Floats,
    width_px: int,
) -> list[View]:
    """Undistort the photos and move their poses to the local frame."""
    undistorters: dict[tuple[int, int], Undistorter] = {}
    views = []
    for photo, image in zip(photos, images, strict=True):
        key = (photo.component, int(image.camera_id))
        if key not in undistorters:
            camera = models[photo.component].camera(image.camera_id)
            undistorters[key] = Undistorter(camera, width_px=width_px)
        pose = np.eye(4)
        pose[:3] = image.cam_from_world().matrix()
        pose[:3, 3] += pose[:3, :3] @ origin  # x = R (local + origin) + t
        seen = [place[photo.component, p.point3D_id] for p in image.get_observation_points2D()]
        used = read_mask(Path(photo.path).parents[1], photo.image_id)
        view = View(
            image_id=photo.image_id,
            sequence_id=photo.sequence_id,
            is_home=photo.is_home,
            camera_from_local=pose,
            intrinsics=undistorters[key].intrinsics,
            photo=undistorters[key].read(Path(photo.path)),
            point_rows=np.array(seen, np.int64),
            points=points[seen].reshape(-1, 3),
            mask=None if used is None or used.all() else undistorters[key].mask(used),
        )
        views.append(view)
    return _believable(views)


def _believable(views: list[View]) -> list[View]:
    """Leave out views that are masked nearly everywhere: nothing can be learned or measured."""
    kept = [view for view in views if view.mask is None or view.mask.mean() >= _MIN_USED_SHARE]
    if len(kept) < len(views):
        _LOG.warning("%d of %d photos are masked nearly whole", len(views) - len(kept), len(views))
    return kept


def _find(box: str, model: pycolmap.Reconstruction, photo: _Photo) -> pycolmap.Image:
    if not model.exists_image(photo.colmap_id):
        raise SplatError(
            f"photo {photo.image_id} ({photo.colmap_id}) is not in component {photo.component}",
            expected="the component that images.parquet names",
            fix="Materialize the box's sparse_model again.",
            box=box,
        )
    return model.image(photo.colmap_id)


def _points(
    models: Mapping[int, pycolmap.Reconstruction], origin: Floats
) -> tuple[Floats, dict[tuple[int, int], int]]:
    """Local positions (P, 3) of all models' points, and the row of each (component, id)."""
    place: dict[tuple[int, int], int] = {}
    xyz: list[Floats] = []
    for k, model in models.items():
        for i in sorted(model.points3D):
            place[k, i] = len(xyz)
            xyz.append(model.point3D(i).xyz)
    return np.array(xyz).reshape(-1, 3) - origin, place
