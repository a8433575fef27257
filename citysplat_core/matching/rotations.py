"""Rotation averaging over verified pairs, and what each pair's pose says against it."""

from typing import Final

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from citysplat_core.features import quiet_colmap
from citysplat_core.matching.verify import Edges

_MIN_EDGES: Final = 3
"""A component with fewer pairs has nothing to compare them with."""
_MIN_DIRECTIONS: Final = 8
"""Fewest long baselines that fix the averaged frame against GPS."""
_DRAWS: Final = 200
_ALIGNED_COSINE: Final = 0.85
_IRLS_ROUNDS: Final = 20
_IRLS_WIDTH_DEG: Final = 10.0


def components_of(rows: NDArray[np.int64], n_photos: int) -> list[NDArray[np.intp]]:
    """List the pairs of every connected set of photos that has enough of them to be compared.

    Args:
        rows: Photo rows of the pairs, shape (E, 2).
        n_photos: How many photos there are.
    """
    if not len(rows):
        return []
    graph = coo_array((np.ones(len(rows)), (rows[:, 0], rows[:, 1])), shape=(n_photos, n_photos))
    _, label = connected_components(graph, directed=False)
    of_pair = label[rows[:, 0]]
    groups = [np.flatnonzero(of_pair == number) for number in np.unique(of_pair)]
    return [group for group in groups if len(group) >= _MIN_EDGES]


def average_rotations(edges: Edges, *, seed: int) -> dict[int, NDArray[np.float64]] | None:
    """Find the rotation of every photo that agrees best with all pairs.

    Args:
        edges: Pairs of one connected component.
        seed: Seed of the solver.

    Returns:
        Photo row to ``camera_from_world`` rotation (3, 3), in an arbitrary common frame; None if
        the solver gave up.
    """
    nodes = np.unique(edges.rows)
    camera = pycolmap.Camera.create_from_model_name(1, "SIMPLE_PINHOLE", 1.0, 2, 2)
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(camera)
    for node in nodes.tolist():  # ids start at 1, rows at 0
        image = pycolmap.Image(name=str(node), camera_id=1, image_id=node + 1)
        model.add_image_with_trivial_frame(image)
    graph = pycolmap.PoseGraph()
    for index, (first, second) in enumerate((edges.rows + 1).tolist()):
        pose = pycolmap.Rigid3d(
            pycolmap.Rotation3d(edges.rotation[index]), edges.translation[index]
        )
        edge = pycolmap.PoseGraphEdge(pose)
        edge.num_matches = int(edges.n_inliers[index])
        graph.add_edge(first, second, edge)
    options = pycolmap.RotationEstimatorOptions(random_seed=seed, filter_unregistered=False)
    with quiet_colmap():
        is_solved = pycolmap.run_rotation_averaging(options, graph, model, [])
    if not is_solved:
        return None
    images = model.images
    if not all(images[node + 1].has_pose for node in nodes.tolist()):
        return None
    return {
        node: np.asarray(images[node + 1].cam_from_world().rotation.matrix())
        for node in nodes.tolist()
    }


def rotation_errors_deg(edges: Edges, world: dict[int, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return how far each pair's rotation is from that of the averaged photos, degrees.

    Args:
        edges: Pairs whose photos were averaged.
        world: ``camera_from_world`` rotation of every photo row.
    """
    first = np.array([world[row] for row in edges.rows[:, 0].tolist()]).reshape(-1, 3, 3)
    second = np.array([world[row] for row in edges.rows[:, 1].tolist()]).reshape(-1, 3, 3)
    residual = second @ first.transpose(0, 2, 1) @ edges.rotation.transpose(0, 2, 1)
    cosine = (np.trace(residual, axis1=1, axis2=2) - 1.0) / 2.0
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def direction_errors_deg(
    east_north_m: NDArray[np.float64],
    edges: Edges,
    world: dict[int, NDArray[np.float64]],
    *,
    sigma_m: float,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far each baseline points from where GPS says, after aligning the two frames.

    Args:
        east_north_m: GPS positions of all photos, metres, shape (N, 2).
        edges: Pairs whose photos were averaged.
        world: ``camera_from_world`` rotation of every photo row.
        sigma_m: GPS error; shorter baselines are not tested.
        seed: Seed of the alignment's draws.

    Returns:
        Angles in degrees (NaN where not tested), and GPS baselines in metres, both of shape (E,).
    """
    move = east_north_m[edges.rows[:, 1]] - east_north_m[edges.rows[:, 0]]
    baseline_m = np.hypot(move[:, 0], move[:, 1])
    errors_deg = np.full(len(edges), np.nan)
    tested = np.flatnonzero(baseline_m > sigma_m)
    if len(tested) < _MIN_DIRECTIONS:
        return errors_deg, baseline_m
    second = np.array([world[row] for row in edges.rows[tested, 1].tolist()])
    solved = -np.einsum("eji,ej->ei", second, edges.translation[tested])
    solved /= np.linalg.norm(solved, axis=1, keepdims=True)
    measured = np.c_[move[tested] / baseline_m[tested, None], np.zeros(len(tested))]
    weight = baseline_m[tested] / (baseline_m[tested] + sigma_m)
    enu_from_world = _align_directions(solved, measured, weight, np.random.default_rng(seed))
    cosine = np.einsum("ei,ei->e", solved @ enu_from_world.T, measured)
    errors_deg[tested] = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return errors_deg, baseline_m


def _align_directions(
    solved: NDArray[np.float64],
    measured: NDArray[np.float64],
    weight: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Find the rotation that turns solved directions onto measured ones (robust Wahba)."""
    best, best_score = np.eye(3), -1.0
    for _ in range(_DRAWS):
        draw = rng.choice(len(solved), size=_MIN_DIRECTIONS, replace=False)
        rotation = _wahba(solved[draw], measured[draw], weight[draw])
        cosine = np.einsum("ei,ei->e", solved @ rotation.T, measured)
        score = float(weight[cosine > _ALIGNED_COSINE].sum())
        if score > best_score:
            best, best_score = rotation, score
    for _ in range(_IRLS_ROUNDS):
        cosine = np.einsum("ei,ei->e", solved @ best.T, measured)
        angle_deg = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
        best = _wahba(solved, measured, weight / (1.0 + (angle_deg / _IRLS_WIDTH_DEG) ** 2))
    return best


def _wahba(
    solved: NDArray[np.float64], measured: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    left, _, right = np.linalg.svd((measured * weight[:, None]).T @ solved)
    flip = np.diag([1.0, 1.0, np.linalg.det(left) * np.linalg.det(right)])
    return np.asarray(left @ flip @ right)
