"""One model of photos that several models hold, so that what they see can be adjusted at once."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pycolmap
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from citysplat_core.mapping.graph import Floats, Ints

_KEYPOINT_BITS: Final = 20


@dataclass(frozen=True)
class Sights:
    """What chosen photos of one model see.

    Attributes:
        point_ids: Points that at least one of them sees, shape (P,).
        xyz: Their places, shape (P, 3).
        keys: Photo and keypoint of each observation in one number, shape (O,).
        points: Row of its point, shape (O,).
        xy: Its place in the photo, pixels, shape (O, 2).
        cameras: The cameras of the model.
        camera_of: Camera id of each photo.
        weight: How well the model tells the lens of each camera: its photos of it times all.
        names: The name of each photo.
    """

    point_ids: Ints
    xyz: Floats
    keys: Ints
    points: Ints
    xy: Floats
    cameras: dict[int, pycolmap.Camera]
    camera_of: dict[int, int]
    weight: dict[int, int]
    names: dict[int, str]


@dataclass(frozen=True)
class Merged:
    """A model of the photos of several models.

    Attributes:
        model: It has one pose a photo, and a point for all points that share an observation.
        points_of: For each model that went in, the point of ``model`` that each of its
            ``Sights.point_ids`` became; -1 if none, shape (P,).
    """

    model: pycolmap.Reconstruction
    points_of: list[Ints]


def read_sights(model: pycolmap.Reconstruction, photos: Collection[int]) -> Sights:
    """Read what some photos of a model see.

    Args:
        model: A reconstruction.
        photos: Colmap ids of photos that it holds.
    """
    chosen = set(photos)
    point_ids: list[int] = []
    xyz: list[Floats] = []
    keys: list[int] = []
    points: list[int] = []
    for point_id, point in model.points3D.items():
        seen = [
            (int(e.image_id) << _KEYPOINT_BITS) | int(e.point2D_idx)
            for e in point.track.elements
            if e.image_id in chosen
        ]
        if seen:
            points += [len(point_ids)] * len(seen)
            keys += seen
            point_ids.append(point_id)
            xyz.append(point.xyz)
    images = {i: model.image(i) for i in sorted(chosen)}
    n_photos = Counter(model.image(i).camera_id for i in model.reg_image_ids())
    where = ((key >> _KEYPOINT_BITS, key & ((1 << _KEYPOINT_BITS) - 1)) for key in keys)
    return Sights(
        point_ids=np.array(point_ids, np.int64),
        xyz=np.array(xyz, float).reshape(-1, 3),
        keys=np.array(keys, np.int64),
        points=np.array(points, np.int64),
        xy=np.array([images[i].point2D(k).xy for i, k in where], float).reshape(-1, 2),
        cameras=dict(model.cameras),
        camera_of={i: image.camera_id for i, image in images.items()},
        weight={c: n * n_photos.total() for c, n in n_photos.items()},
        names={i: image.name for i, image in images.items()},
    )


def merge_models(sights: list[Sights], poses: Mapping[int, pycolmap.Rigid3d]) -> Merged:
    """Make one model of what several see, in one frame.

    Points that share an observation become one, at the middle of their places. One that would be
    seen twice in a photo is left out, as is one that a single photo sees. A camera has the lens of
    the model that tells it best: a short straight street may have refined its own by a tenth.

    Args:
        sights: Of each model; a camera has the same id in all of them.
        poses: ``cam_from_world`` of each photo; others do not take part.
    """
    keys, labels, of_point = _label(sights)
    rows = np.flatnonzero(_is_usable(keys, labels))
    xy = np.concatenate([each.xy for each in sights])
    _, first = np.unique(np.concatenate([each.keys for each in sights]), return_index=True)
    model, places = _photos_of(sights, poses, keys[rows], xy[first][rows])
    n_points = int(of_point.max(initial=-1)) + 1
    middle = np.zeros((n_points, 3))
    np.add.at(middle, of_point, np.concatenate([each.xyz for each in sights]))
    middle /= np.maximum(np.bincount(of_point, minlength=n_points), 1)[:, None]
    point_of = np.full(n_points, -1)
    order = rows[np.argsort(labels[rows], kind="stable")]
    for part in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1) if len(order) else ():
        track = pycolmap.Track()
        for key in keys[part].tolist():
            track.add_element(key >> _KEYPOINT_BITS, places[key])
        label = int(labels[part[0]])
        point_of[label] = model.add_point3D(middle[label], track)
    ends = np.cumsum([len(each.point_ids) for each in sights])[:-1]
    return Merged(model, np.split(point_of[of_point], ends))


def _label(sights: list[Sights]) -> tuple[Ints, Ints, Ints]:
    """Number groups of points that share observations: each key with its group, each point's."""
    starts = np.cumsum([0, *(len(each.point_ids) for each in sights)])
    points = np.concatenate([each.points + s for each, s in zip(sights, starts, strict=False)])
    keys, which = np.unique(np.concatenate([each.keys for each in sights]), return_inverse=True)
    n = int(starts[-1])
    ends = (points, n + which.ravel())
    graph = coo_array((np.ones(len(points)), ends), shape=(n + len(keys), n + len(keys)))
    labels = connected_components(graph, directed=False)[1].astype(np.int64)
    return keys, labels[n:], labels[:n]


def _is_usable(keys: Ints, labels: Ints) -> np.ndarray:
    """Say which observations are of points that at least two photos see, each once."""
    photos = keys >> _KEYPOINT_BITS
    both = np.stack([labels, photos], axis=1)
    once, counts = np.unique(both, axis=0, return_counts=True)
    twice = once[counts > 1, 0]
    seen = np.bincount(labels, minlength=int(labels.max(initial=-1)) + 1)
    return np.asarray((seen[labels] >= 2) & ~np.isin(labels, twice))


def _photos_of(
    sights: list[Sights], poses: Mapping[int, pycolmap.Rigid3d], keys: Ints, xy: Floats
) -> tuple[pycolmap.Reconstruction, dict[int, int]]:
    """Make a model of photos that hold only the used keypoints; and say which each key became."""
    model, places = pycolmap.Reconstruction(), dict[int, int]()
    sources = {i: each for each in reversed(sights) for i in each.names}
    for camera_id in sorted({sources[i].camera_of[i] for i in poses}):
        best = max(sights, key=lambda each: each.weight.get(camera_id, 0))  # the first of equals
        model.add_camera_with_trivial_rig(best.cameras[camera_id])
    photos = keys >> _KEYPOINT_BITS  # sorted, as the keys are
    for image_id, pose in sorted(poses.items()):
        source = sources[image_id]
        first, last = np.searchsorted(photos, [image_id, image_id + 1])
        image = pycolmap.Image(
            name=source.names[image_id], image_id=image_id,
            camera_id=source.camera_of[image_id],
        )  # fmt: skip
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(p) for p in xy[first:last]])
        places.update({key: k for k, key in enumerate(keys[first:last].tolist())})
        model.add_image_with_trivial_frame(image, pose)
    return model, places
