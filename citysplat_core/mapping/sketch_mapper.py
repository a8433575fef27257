"""CitySplat's own mapper: all photos at once, where a sketch of the box puts them.

Growing a model photo by photo stops at every gap and crossing, and bends where it goes on. But the
matches of a box, asked together with GPS, gravity and headings, place nearly all its photos to a
few decimetres (`citysplat_core.matching.sketch`). From there COLMAP triangulates, adjusts, and
registers the photos that the sketch did not place.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
import pycolmap
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from citysplat_core.mapping.geographic import grow_from
from citysplat_core.mapping.mappers import MapJob, by_size
from citysplat_core.matching.inliers import Graph, read_graph
from citysplat_core.matching.pairs import NO_SEQUENCE
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.sketch import Sketch
from citysplat_core.matching.sketching import sketch_photos

log = logging.getLogger(__name__)

_MAX_DISTANCE_M: Final = 60.0
_TELLS_LENS: Final = 8
"""Placed photos of a camera from which on their lens counts."""
_RADIAL_MODELS: Final = ("SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
"""Their first extra parameter is the radial term of a sketch."""


def map_sketch(job: MapJob) -> list[pycolmap.Reconstruction]:
    """Sketch all photos, adjust what hangs together, and register the rest.

    Args:
        job: The job; photos without a position, or of a lens that nobody knows, can join but not
            be sketched.

    Returns:
        The models, the largest first; one a group of photos that verified pairs tie together.
    """
    photos = photos_of(job)
    graph = read_graph([job.database], photos.colmap_id)
    job.beat()
    sketch = sketch_photos(
        photos, graph.edges, graph.inliers,
        gps_sigma_m=job.settings.gps_sigma_m, max_distance_m=_MAX_DISTANCE_M,
    )  # fmt: skip
    log.info("The sketch places %d of %d photos", sketch.is_known.sum(), len(photos))
    with pycolmap.Database.open(job.database) as database:
        cache = pycolmap.DatabaseCache.create(
            database, pycolmap.DatabaseCacheOptions(min_num_matches=job.settings.min_matches)
        )
    models = []
    for rows in _groups(graph, sketch, job.settings.min_matches):
        if job.watch.must_stop():
            break
        if len(rows) < job.settings.min_model_size:
            continue
        job.beat()
        model = pycolmap.Reconstruction()
        model.load(cache)
        _place(model, photos, sketch, rows)
        elsewhere = np.setdiff1d(photos.colmap_id[sketch.is_known], photos.colmap_id[rows])
        grow_from(job, cache, model, elsewhere=set(elsewhere.tolist()))
        models.append(model)
    return by_size(models, job.settings.min_model_size)


def photos_of(job: MapJob) -> Photos:
    """Describe the photos of a job that have a position, as matching wants them."""
    images = job.images[job.images["colmap_id"].isin(list(job.positions))]
    images = images.sort_values("colmap_id")
    known = images["sequence_id"].notna() & (images["sequence_id"].astype(str) != "")
    numbers, _ = pd.factorize(images["sequence_id"].where(known), sort=True)
    captured_at = pd.to_datetime(images["captured_at"], utc=True)
    colmap_id = images["colmap_id"].to_numpy(dtype=np.int64)
    return Photos(
        colmap_id=colmap_id,
        names=tuple(images["image_id"].astype(str)),
        side=np.zeros(len(images), dtype=np.int64),
        east_north_m=images[["east_m", "north_m"]].to_numpy(dtype=np.float64),
        heading_deg=images["heading_deg"].to_numpy(dtype=np.float64, na_value=np.nan),
        sequence=np.where(numbers < 0, NO_SEQUENCE, numbers).astype(np.int64),
        captured_at=captured_at.to_numpy(dtype="datetime64[ms]").astype(np.int64),
        half_view=_half_views(job, colmap_id),
    )


def _half_views(job: MapJob, colmap_id: NDArray[np.int64]) -> NDArray[np.float32]:
    """Tangents of half the angles of view, NaN where the focal length is a guess, shape (N, 2)."""
    halves = np.full((len(colmap_id), 2), np.nan, dtype=np.float32)
    with pycolmap.Database.open(job.database) as database:
        cameras = {camera.camera_id: camera for camera in database.read_all_cameras()}
        camera_of = {image.image_id: image.camera_id for image in database.read_all_images()}
    for row, image_id in enumerate(colmap_id.tolist()):
        camera = cameras.get(camera_of.get(image_id, -1))
        if camera is not None and camera.has_prior_focal_length:
            halves[row] = np.array([camera.width, camera.height]) / 2.0 / camera.mean_focal_length()
    return halves


def _groups(graph: Graph, sketch: Sketch, min_matches: int) -> Iterable[NDArray[np.intp]]:
    """Give the rows of placed photos that pairs tie together, the largest group first."""
    edges, n_photos = graph.edges, len(sketch.is_known)
    ties = sketch.is_known[edges.rows].all(axis=1) & (edges.n_inliers >= min_matches)
    first, second = edges.rows[ties].T
    matrix = coo_array((np.ones(len(first)), (first, second)), shape=(n_photos, n_photos))
    _, part = connected_components(matrix, directed=False)
    parts = [np.flatnonzero((part == each) & sketch.is_known) for each in np.unique(part)]
    return sorted(parts, key=len, reverse=True)


def _place(
    model: pycolmap.Reconstruction, photos: Photos, sketch: Sketch, rows: NDArray[np.intp]
) -> None:
    """Give photos of a model their poses, and its cameras the lenses of the sketch."""
    lens_of: dict[int, list[tuple[float, float]]] = {}
    for row in rows.tolist():
        image_id = int(photos.colmap_id[row])
        if not model.exists_image(image_id):
            continue
        image = model.image(image_id)
        rotation = sketch.rotation[row]
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(rotation), -rotation @ sketch.centre_m[row])
        model.frame(image.frame_id).set_cam_from_world(image.camera_id, pose)
        model.register_frame(image.frame_id)
        lens = float(sketch.focal[row]), float(sketch.radial[row])
        lens_of.setdefault(image.camera_id, []).append(lens)
    set_lenses(model, lens_of)


def set_lenses(
    model: pycolmap.Reconstruction, lens_of: Mapping[int, Sequence[tuple[float, float]]]
) -> None:
    """Give cameras the middle focal length and radial term of their photos.

    A point that COLMAP's camera puts at q (1 + k1 q^2) has q = f p (1 + r p^2) by the sketch: to
    first order its radial term becomes r + k1 f^2.
    """
    for camera_id, said in lens_of.items():
        if len(said) < _TELLS_LENS:
            continue
        camera = model.camera(camera_id)
        (zoom, radial), params = np.median(said, axis=0).tolist(), list(camera.params)
        for place in camera.focal_length_idxs():
            params[place] *= zoom
        if camera.model_name in _RADIAL_MODELS:
            first = camera.extra_params_idxs()[0]
            params[first] = radial + params[first] * zoom**2
        camera.params = params
