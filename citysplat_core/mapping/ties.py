"""Which models of a box see the same points, and how they lie to each other.

Two models meet where a photo is in both, or where a verified pair has one photo in each: a keypoint
match whose ends both have a point in space says where these points belong. A similarity is believed
by what it does in the photos: it must bring the points of one model onto the rays of the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_KEYPOINT_BITS = 20
_DRAWS = 500
_SCORED = 300
_AGREES_RAD = 0.012
"""Six pixels at a focal length of 500."""
_ROUNDS = 4
_LEAST = 3
_STEPS = np.array([0.1, 0.1, 0.1, 0.1, 1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Tie:
    """How two models lie to each other.

    Attributes:
        a: Index of one model.
        b: Index of the other one, greater than ``a``.
        a_from_b: The similarity between their frames.
        n_points: Pairs of points that matches name.
        n_agree: Those that the similarity brings onto each other's rays.
    """

    a: int
    b: int
    a_from_b: pycolmap.Sim3d
    n_points: int
    n_agree: int


@dataclass(frozen=True)
class _Sights:
    """Points of one model, and one photo's view of each: pose and ray of its keypoint."""

    xyz: Floats
    turn: Floats
    shift: Floats
    ray: Floats

    def take(self, rows: Ints) -> "_Sights":
        return _Sights(self.xyz[rows], self.turn[rows], self.shift[rows], self.ray[rows])


class _Seen:
    """The points of a model by the keypoints that show them; a key is photo and keypoint."""

    def __init__(self, model: pycolmap.Reconstruction) -> None:
        self.model = model
        keys, rows, xyz = [], [], []
        for row, point in enumerate(model.points3D.values()):
            xyz.append(point.xyz)
            for seen in point.track.elements:
                keys.append((seen.image_id << _KEYPOINT_BITS) + seen.point2D_idx)
                rows.append(row)
        order = np.argsort(np.array(keys, dtype=np.int64))
        self.keys = np.array(keys, dtype=np.int64)[order]
        self.rows = np.array(rows, dtype=np.int64)[order]
        self.xyz = np.array(xyz).reshape(-1, 3)

    def keys_of(self, image_id: int) -> Ints:
        """Give the sorted keys of a photo's keypoints that have a point."""
        ends = np.array([image_id, image_id + 1], dtype=np.int64) << _KEYPOINT_BITS
        first, last = np.searchsorted(self.keys, ends)
        return self.keys[first:last]

    def points(self, keys: Ints) -> Ints:
        """Give the row of each key's point, -1 where it has none."""
        at = np.minimum(np.searchsorted(self.keys, keys), max(len(self.keys) - 1, 0))
        found = self.keys[at] == keys if len(self.keys) else np.zeros(len(keys), bool)
        return np.where(found, self.rows[at] if len(self.keys) else -1, -1)

    def sights(self, keys: Ints) -> _Sights:
        """Give points, poses and rays of keys, each of which has a point."""
        turn, shift = np.empty((len(keys), 3, 3)), np.empty((len(keys), 3))
        ray = np.empty((len(keys), 3))
        photos = keys >> _KEYPOINT_BITS
        for image_id in np.unique(photos).tolist():
            mine = np.flatnonzero(photos == image_id)
            image = self.model.image(image_id)
            pose = image.cam_from_world()
            turn[mine], shift[mine] = pose.rotation.matrix(), pose.translation
            numbers = (keys[mine] & ((1 << _KEYPOINT_BITS) - 1)).tolist()
            xy = np.array([image.point2D(number).xy for number in numbers]).reshape(-1, 2)
            ray[mine] = self.model.camera(image.camera_id).cam_ray_from_img(xy)
        return _Sights(self.xyz[self.points(keys)], turn, shift, ray)


def find_ties(
    models: Sequence[pycolmap.Reconstruction], graph: pycolmap.CorrespondenceGraph, *, seed: int
) -> list[Tie]:
    """Find every two models that see the same points.

    Args:
        models: Models of one database, each in its own frame.
        graph: The verified matches of that database.
        seed: Seed of the random draws.

    Returns:
        The ties, those with most agreeing points first; a pair without three common points has
        none. How many must agree is for the caller to say.
    """
    seen = [_Seen(model) for model in models]
    ties = []
    for (a, b), (keys_a, keys_b) in sorted(_common_keys(seen, graph).items()):
        if len(keys_a) < _LEAST:
            continue
        rng = np.random.default_rng([seed, a, b])
        found = _fit(seen[a].sights(keys_a), seen[b].sights(keys_b), rng)
        if found is not None:
            a_from_b, n_agree = found
            ties.append(Tie(a=a, b=b, a_from_b=a_from_b, n_points=len(keys_a), n_agree=n_agree))
    return sorted(ties, key=lambda tie: (-tie.n_agree, tie.a, tie.b))


def _common_keys(
    seen: Sequence[_Seen], graph: pycolmap.CorrespondenceGraph
) -> dict[tuple[int, int], tuple[Ints, Ints]]:
    """Give the keys that show the same point in two models, one pair for each two points."""
    holders: dict[int, list[int]] = {}
    for number, each in enumerate(seen):
        for image_id in each.model.reg_image_ids():
            holders.setdefault(image_id, []).append(number)
    found: dict[tuple[int, int], list[tuple[Ints, Ints]]] = {}
    for image_id, numbers in sorted(holders.items()):
        for a, b in combinations(numbers, 2):
            keys = np.intersect1d(seen[a].keys_of(image_id), seen[b].keys_of(image_id))
            found.setdefault((a, b), []).append((keys, keys))
    for pair_id in sorted(graph.num_matches_between_all_images()):
        i, j = pycolmap.pair_id_to_image_pair(pair_id)
        pairs = [(a, b) for a in holders.get(i, ()) for b in holders.get(j, ()) if a != b]
        if not pairs:
            continue
        matches = graph.extract_matches_between_images(i, j).astype(np.int64)
        keys_i, keys_j = (matches + (np.array([i, j]) << _KEYPOINT_BITS)).T
        for a, b in pairs:
            both = (seen[a].points(keys_i) >= 0) & (seen[b].points(keys_j) >= 0)
            ends = (keys_i[both], keys_j[both])
            found.setdefault((min(a, b), max(a, b)), []).append(ends if a < b else ends[::-1])
    return {pair: _once(seen[pair[0]], seen[pair[1]], parts) for pair, parts in found.items()}


def _once(first: _Seen, second: _Seen, parts: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    keys_a = np.concatenate([a for a, _ in parts])
    keys_b = np.concatenate([b for _, b in parts])
    points = np.stack([first.points(keys_a), second.points(keys_b)], axis=1)
    _, kept = np.unique(points, axis=0, return_index=True)
    return keys_a[kept], keys_b[kept]


def _fit(a: _Sights, b: _Sights, rng: np.random.Generator) -> tuple[pycolmap.Sim3d, int] | None:
    """Fit a similarity by three-point draws, then by the rays of what agrees."""
    numbers = _best_draw(a, b, rng)
    for _ in range(_ROUNDS):
        rows = np.flatnonzero(_misses(numbers, a, b) < _AGREES_RAD)
        if len(rows) < _LEAST:
            return None
        numbers = least_squares(
            _whitened, numbers, loss="soft_l1", x_scale=_STEPS, max_nfev=30,
            args=(a.take(rows), b.take(rows)),
        ).x  # fmt: skip
    n_agree = int((_misses(numbers, a, b) < _AGREES_RAD).sum())
    rotation = pycolmap.Rotation3d(Rotation.from_rotvec(numbers[1:4]).as_matrix())
    return pycolmap.Sim3d(float(np.exp(numbers[0])), rotation, numbers[4:7]), n_agree


def _whitened(numbers: Floats, a: _Sights, b: _Sights) -> Floats:
    return _rays_off(numbers, a, b) / _AGREES_RAD


def _best_draw(a: _Sights, b: _Sights, rng: np.random.Generator) -> Floats:
    """Give log scale, rotation vector and shift of the draw that most points agree with."""
    scored = np.arange(len(a.xyz))
    if len(scored) > _SCORED:
        scored = np.sort(rng.choice(scored, _SCORED, replace=False))
    sample_a, sample_b = a.take(scored), b.take(scored)
    rows = rng.integers(0, len(a.xyz), (_DRAWS, _LEAST))
    scale, turn, shift = _similarities(b.xyz[rows], a.xyz[rows])
    usable = np.isfinite(scale) & (scale > 0)
    logs = np.log(np.where(usable, scale, 1.0))
    turns = Rotation.from_matrix(np.where(usable[:, None, None], turn, np.eye(3))).as_rotvec()
    best, found = -1, np.zeros(7)
    for numbers in np.concatenate([logs[:, None], turns, shift], axis=1)[usable]:
        n_agree = int((_misses(numbers, sample_a, sample_b) < _AGREES_RAD).sum())
        if n_agree > best:
            best, found = n_agree, numbers
    return found


def _similarities(source: Floats, target: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit similarities to batches of points, shape (N, K, 3): Umeyama (1991)."""
    mean_s, mean_t = source.mean(axis=1), target.mean(axis=1)
    s, t = source - mean_s[:, None], target - mean_t[:, None]
    u, values, vt = np.linalg.svd(np.swapaxes(t, 1, 2) @ s)
    sign = np.ones_like(values)
    sign[:, 2] = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    turn = (u * sign[:, None]) @ vt
    spread = (s**2).sum(axis=(1, 2))
    scale = (values * sign).sum(axis=1) / np.where(spread > 0, spread, np.nan)
    shift = mean_t - scale[:, None] * np.einsum("nij,nj->ni", turn, mean_s)
    return scale, turn, shift


def _misses(numbers: Floats, a: _Sights, b: _Sights) -> Floats:
    """Say by which angle each point misses the other model's ray, the worse of both, shape (N,)."""
    off = np.linalg.norm(_rays_off(numbers, a, b).reshape(2, -1, 3), axis=2)
    return np.asarray(off.max(axis=0))


def _rays_off(numbers: Floats, a: _Sights, b: _Sights) -> Floats:
    """Give the differences of unit rays: points of b in photos of a, then the other way; flat."""
    scale, turn = np.exp(numbers[0]), Rotation.from_rotvec(numbers[1:4]).as_matrix()
    there = scale * b.xyz @ turn.T + numbers[4:7]
    back = (a.xyz - numbers[4:7]) @ turn / scale
    return np.concatenate([_ray_off(there, a), _ray_off(back, b)]).ravel()


def _ray_off(points: Floats, sights: _Sights) -> Floats:
    local = np.einsum("nij,nj->ni", sights.turn, points) + sights.shift
    length = np.linalg.norm(local, axis=1, keepdims=True)
    return np.asarray(local / np.maximum(length, 1e-12) - sights.ray)
