"""A town of known points: what features and matching would leave of its photos, without a photo.

Rendering 4,000 photos takes hours and says nothing of mapping. Here the streets of a simulated town
get points on both rows of fronts, and every photo of its drives and walks sees those that stand
in its own street: there nothing hides anything. A photo finds each of them with a chance of 70 %,
half a pixel off. Two photos match a point that both found if they look at it from directions less
than 40 degrees apart and from distances that differ by less than 2.5; one match in five is lost and
one in a hundred is wrong. Pairs, keypoints, priors and relative poses are written as the steps
``box_features``, ``box_matches`` and ``fringe_matches`` leave them. The same settings give the same
town, whatever its number of threads.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pycolmap
from mapping_city import City, plan_city
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation
from town_box import write_box_tables

from citysplat_core.features import create_database, finish_database
from citysplat_core.settings import BoxSettings
from citysplat_core.simulation import Capture, Town, TownSettings, build_town, plan_captures
from citysplat_core.simulation.street_grid import FACADE_M
from citysplat_core.storage import no_progress

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ZOOM = 18
"""Of the boxes: 103.5 m wide there, so that each holds one street each way."""
BLOCK_M = 92.0
"""Less than a box, so that GPS errors put no photo of the outer streets into a further box."""
PHOTOS_A_BOX = 62
_POINTS_A_METRE = 5.0
_FRONT_DEPTH_M, _HIGHEST_M, _FARTHEST_M, _NEAREST_M = 0.6, 9.0, 45.0, 2.0
_FOUND, _KEPT, _WRONG, _NOISE_PX = 0.7, 0.8, 0.01, 0.5
_MOST_TURN_COS, _MOST_ZOOM = np.cos(np.radians(40.0)), 2.5
_PAIR_M, _LEAST_MATCHES, _PARTNERS = 32.0, 30, 8


@dataclass(frozen=True)
class Views:
    """What one photo found.

    Attributes:
        points: Numbers of the points, ascending, shape (K,).
        pixels: Where they are, x and y, shape (K, 2).
        rays: Directions from the camera to them, unit length, city frame, shape (K, 3).
        range_m: Distances, shape (K,).
    """

    points: Ints
    pixels: NDArray[np.float32]
    rays: Floats
    range_m: Floats


def point_settings(boxes_east: int, boxes_north: int, *, seed: int = 5) -> TownSettings:
    """Give a town with one street each way through each of its boxes."""
    return TownSettings(
        seed=seed, n_photos=PHOTOS_A_BOX * boxes_east * boxes_north, block_m=BLOCK_M,
        n_streets_east=boxes_east, n_streets_north=boxes_north, turn_deg=0.0,
        gps_noise_m=3.0, gps_bias_m=2.0, computed_missing_share=1.0,
    )  # fmt: skip


def make_point_city(folder: Path, settings: TownSettings) -> City:
    """Write a city whose boxes are matched; about 10 CPU-ms a photo.

    Args:
        folder: Where; a whole city in it is used.
        settings: From `point_settings`.

    Returns:
        The city, ready for `mapping_models.map_city`.
    """
    town = build_town(settings)
    captures = sorted(plan_captures(town), key=lambda capture: capture.image_id)
    box = folder / "box"
    if not (box / "cameras.parquet").exists():
        box.mkdir(parents=True, exist_ok=True)
        write_box_tables(box, town, captures)
    zoom = BoxSettings(min_zoom=ZOOM, max_zoom=ZOOM)
    city = plan_city(
        folder / "city", box, town.frame, zoom, n_threads=1, tell=lambda _: no_progress
    )
    if not (folder / "city" / "matches" / "digest").exists():
        _write_matches(city, captures, *_seen(town, captures))
        (folder / "city" / "matches" / "digest").write_text(settings.model_dump_json())
    return city


def street_points(town: Town) -> tuple[Floats, Ints]:
    """Scatter points over the fronts of all streets.

    Returns:
        Town metres, shape (P, 3), and the number of each point's street: north-south streets come
        first.
    """
    grid, rng = town.grid, np.random.default_rng([town.settings.seed, 91])
    west, south, east, north = grid.bounds_m
    places, streets = [], []
    lines = [(0, grid.street_x(i), south, north) for i in range(grid.n_east)]
    lines += [(1, grid.street_y(j), west, east) for j in range(grid.n_north)]
    crossings = (
        np.array([grid.street_y(j) for j in range(grid.n_north)]),
        np.array([grid.street_x(i) for i in range(grid.n_east)]),
    )
    for number, (way, middle, first, last) in enumerate(lines):
        count = int(2 * _POINTS_A_METRE * (last - first + 2 * _FARTHEST_M))
        along = rng.uniform(first - _FARTHEST_M, last + _FARTHEST_M, count)
        side = rng.choice([-1.0, 1.0], count) * (FACADE_M + rng.uniform(0, _FRONT_DEPTH_M, count))
        height = rng.uniform(0.2, _HIGHEST_M, count)
        gap = np.abs(along[:, None] - crossings[way]).min(axis=1) < FACADE_M
        across = middle + side
        xy = np.stack([across, along] if way == 0 else [along, across], axis=1)
        places.append(np.column_stack([xy, height])[~gap])
        streets.append(np.full(int((~gap).sum()), number))
    return np.concatenate(places), np.concatenate(streets)


def _seen(town: Town, captures: list[Capture]) -> tuple[list[Views], list[tuple[int, int]]]:
    """Find what each photo sees, and the pairs of photos (rows) that are worth matching."""
    points, street = street_points(town)
    enu = points @ np.linalg.inv(town.town_from_enu).T
    tree = KDTree(enu[:, :2])
    views = [_view(town, capture, enu, street, tree) for capture in captures]
    centres = np.array([capture.centre[:2] for capture in captures])
    near = KDTree(centres).query_pairs(_PAIR_M, output_type="ndarray")
    shared = np.array([_n_shared(views[i], views[j]) for i, j in near])
    partners: dict[int, list[tuple[int, int, int]]] = {}
    for (i, j), count in zip(near.tolist(), shared.tolist(), strict=True):
        if count >= _LEAST_MATCHES / _KEPT:
            for row in (i, j):
                partners.setdefault(row, []).append((-count, i, j))
    best = {(i, j) for found in partners.values() for _, i, j in sorted(found)[:_PARTNERS]}
    return views, sorted(best)


def _view(town: Town, capture: Capture, enu: Floats, street: Ints, tree: KDTree) -> Views:
    """Project the points of the photo's streets into it."""
    grid, camera = town.grid, capture.camera
    place = town.town_from_enu @ capture.centre
    n_east = grid.n_east
    mine = [i for i in range(n_east) if abs(place[0] - grid.street_x(i)) <= FACADE_M]
    mine += [
        n_east + j for j in range(grid.n_north) if abs(place[1] - grid.street_y(j)) <= FACADE_M
    ]
    near = np.array(sorted(tree.query_ball_point(capture.centre[:2], _FARTHEST_M)), dtype=np.int64)
    near = near[np.isin(street[near], mine)]
    rng = np.random.default_rng([town.settings.seed, 92, int(capture.image_id) % 2**31])
    found = rng.random(len(near)) < _FOUND
    noise = rng.normal(0, _NOISE_PX, (len(near), 2))
    local = (enu[near] - capture.centre) @ capture.rotation.T
    z = np.maximum(local[:, 2], 1e-6)
    xy = local[:, :2] / z[:, None]
    r2 = (xy**2).sum(axis=1)
    bend = camera.focal_px * (1 + camera.k1 * r2 + camera.k2 * r2 * r2)
    pixel = xy * bend[:, None] + (camera.width / 2, camera.height / 2) + noise
    inside = (pixel > 0).all(axis=1) & (pixel < (camera.width, camera.height)).all(axis=1)
    kept = found & inside & (local[:, 2] > _NEAREST_M) & (r2 < 1.5)
    step = enu[near[kept]] - capture.centre
    range_m = np.linalg.norm(step, axis=1)
    return Views(near[kept], pixel[kept].astype(np.float32), step / range_m[:, None], range_m)


def _shared(a: Views, b: Views) -> tuple[Ints, Ints]:
    """Give the keypoints of two photos that look alike."""
    _, i, j = np.intersect1d(a.points, b.points, assume_unique=True, return_indices=True)
    alike = (a.rays[i] * b.rays[j]).sum(axis=1) > _MOST_TURN_COS
    zoom = a.range_m[i] / b.range_m[j]
    alike &= (zoom < _MOST_ZOOM) & (zoom > 1 / _MOST_ZOOM)
    return i[alike], j[alike]


def _n_shared(a: Views, b: Views) -> int:
    return len(_shared(a, b)[0])


def _geometry(a: Capture, b: Capture, views: tuple[Views, Views], seed: list[int]):  # noqa: ANN202 - pycolmap has no types
    """Match two photos; None if too few matches are left."""
    rng = np.random.default_rng(seed)
    i, j = _shared(*views)
    kept = rng.random(len(i)) < _KEPT
    i, j = i[kept], j[kept].copy()
    if len(i) < _LEAST_MATCHES:
        return None
    wrong = rng.random(len(j)) < _WRONG
    j[wrong] = rng.permutation(j)[wrong]
    _, once = np.unique(j, return_index=True)
    rotation = Rotation.from_rotvec(np.radians(rng.normal(0, 0.2, 3))).as_matrix()
    rotation = rotation @ b.rotation @ a.rotation.T
    step = b.translation - b.rotation @ a.rotation.T @ a.translation
    step = step / np.linalg.norm(step) + rng.normal(0, 0.03, 3)
    geometry = pycolmap.TwoViewGeometry()
    geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
    geometry.inlier_matches = np.stack([i, j], axis=1)[np.sort(once)].astype(np.uint32)
    geometry.cam2_from_cam1 = pycolmap.Rigid3d(
        pycolmap.Rotation3d(rotation), step / np.linalg.norm(step)
    )
    return geometry


def _write_matches(
    city: City, captures: list[Capture], views: list[Views], pairs: list[tuple[int, int]]
) -> None:
    """Write the databases of all boxes and fringes; row k of the captures has colmap id k + 1."""
    plan = pd.read_parquet(city.folder / "plan" / "images.parquet").set_index("colmap_id")["box"]
    home = plan.reindex(np.arange(1, len(captures) + 1)).astype(str).tolist()
    members = pd.read_parquet(city.fringe_images).groupby("fringe")["colmap_id"].apply(set)
    of_place: dict[str, list[tuple[int, int]]] = {key: [] for key in (*city.boxes, *members.index)}
    for i, j in pairs:
        key = home[i] if home[i] == home[j] else "--".join(sorted((home[i], home[j])))
        if key in city.boxes or {i + 1, j + 1} <= members.get(key, set()):
            of_place[key].append((i, j))
    for key, listed in of_place.items():
        boxes = key.split("--")
        tables = [pd.read_parquet(city.at("box_images", b) / "images.parquet") for b in boxes]
        images = pd.concat(tables)
        if len(boxes) > 1:
            images = images[images["colmap_id"].isin(members[key])]
        cameras = pd.read_parquet(city.at("box_images", boxes[0]) / "cameras.parquet")
        out = city.at("matches", key)
        out.mkdir(parents=True, exist_ok=True)
        (out / "matches.db").unlink(missing_ok=True)
        create_database(out / "matches.db", cameras, images)
        with (
            pycolmap.Database.open(out / "matches.db") as opened,
            pycolmap.DatabaseTransaction(opened),
        ):
            for k in images["colmap_id"].astype(int).tolist():
                opened.write_keypoints(k, views[k - 1].pixels)
            for i, j in listed:
                geometry = _geometry(captures[i], captures[j], (views[i], views[j]), [i, j, 93])
                if geometry is not None:
                    opened.write_two_view_geometry(i + 1, j + 1, geometry)
        finish_database(out / "matches.db")
