"""How far solved cameras are from the truth, and the tables that say so."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pycolmap
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_TRUE_INLIERS, MOST_TURN_DEG, LEAST_GROUP = 15, 15.0, 6
NEAR_M, NEIGHBOURS_M, GROSS_M, CORRECT_M = 50.0, 30.0, 5.0, 1.0
_TURN_NEEDS_M = 5.0
DEFINITIONS = f"""\
true pair         a verified pair with at least {LEAST_TRUE_INLIERS} inliers that the depth
                  confirms, most of all it has, and a relative rotation that is at most
                  {MOST_TURN_DEG:.0f} degrees wrong; looked for among CitySplat's pairs before its
                  gates, and among COLMAP's matches of every pair of photos that share at least
                  10 % of their surface by depth
connectable       photos in groups of at least {LEAST_GROUP} that true pairs tie together
registered_share  share of the connectable photos that have a pose in the end
gross_errors      photos more than {GROSS_M:.0f} m (3-D) from their place after the best shift and
                  turn about up (robust, scale kept) of the other photos within
                  {NEIGHBOURS_M:.0f} m in the aligned city (of a peer: in the same model)
rel_inside_m      median of |(solved j - solved i) - (true j - true i)|, in 3-D and without any
                  fit, over all pairs of photos at most {NEAR_M:.0f} m apart in one component
rel_shape_m       the same after the best similarity of each component to the truth: without the
                  errors of its scale and heading, which only GPS can give
rel_across_m      as rel_inside_m over pairs of different components, after alignment
rel_across_p95_m  its 95th percentile
abs_m             median horizontal distance from the truth; of a peer after CitySplat's robust
                  gravity similarity of each model; "own": after COLMAP's robust alignment to GPS
seam_m            median distance of the two places of a photo that two boxes hold, aligned
correct           photos within {CORRECT_M:.0f} m of the truth after the best similarity of each
                  model to it
"""


@dataclass(frozen=True, kw_only=True)
class Solved:
    """Cameras of one city.

    Attributes:
        colmap_id: Of each camera, shape (N,).
        component: Number of its component or model, shape (N,).
        centre: East, north, up, metres, shape (N, 3).
    """

    colmap_id: Ints
    component: Ints
    centre: Floats

    def once(self) -> "Solved":
        """Keep the first camera of each photo."""
        _, first = np.unique(self.colmap_id, return_index=True)
        rows = np.sort(first)
        return Solved(
            colmap_id=self.colmap_id[rows],
            component=self.component[rows],
            centre=self.centre[rows],
        )


def true_pairs(labels: pd.DataFrame) -> set[tuple[int, int]]:
    """Give the true ones of the pairs that `matching_store.label_pairs` has compared."""
    good = (labels["n_true"] >= LEAST_TRUE_INLIERS) & (2 * labels["n_true"] > labels["n"])
    good &= labels["turn_error_deg"] <= MOST_TURN_DEG
    found = labels[good]
    return set(zip(found["a"].tolist(), found["b"].tolist(), strict=True))


def connectable(pairs: Iterable[tuple[int, int]], least: int = LEAST_GROUP) -> set[int]:
    """Give the photos in groups of at least ``least`` that the pairs tie together."""
    ends = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    ids, rows = np.unique(ends, return_inverse=True)
    rows = rows.reshape(-1, 2)
    graph = coo_array((np.ones(len(rows)), (rows[:, 0], rows[:, 1])), shape=(len(ids), len(ids)))
    group = connected_components(graph, directed=False)[1]
    large = np.bincount(group, minlength=1)[group] >= least
    return set(ids[large].tolist())


def relative_errors(solved: Solved, truth: Floats) -> tuple[Floats, Floats]:
    """Compare the steps between near photos with the true ones.

    Args:
        solved: One camera a photo.
        truth: True centres of these cameras, metres, shape (N, 3).

    Returns:
        Errors in metres of the pairs inside components, and of those across.
    """
    pairs = KDTree(truth[:, :2]).query_pairs(NEAR_M, output_type="ndarray").reshape(-1, 2)
    off = solved.centre - truth
    error = np.linalg.norm(off[pairs[:, 0]] - off[pairs[:, 1]], axis=1)
    inside = solved.component[pairs[:, 0]] == solved.component[pairs[:, 1]]
    return error[inside], error[~inside]


def place_errors(solved: Solved, truth: Floats, *, by_component: bool = False) -> Floats:
    """Measure how far each photo is from its place among its neighbours.

    Args:
        solved: One camera a photo.
        truth: True centres of these cameras, metres, shape (N, 3).
        by_component: Only neighbours of the same component count.

    Returns:
        Distances in metres, shape (N,); NaN for a photo without neighbours.
    """
    near = KDTree(truth[:, :2]).query_ball_point(truth[:, :2], NEIGHBOURS_M)
    errors = np.full(len(truth), np.nan)
    for row, found in enumerate(near):
        rows = np.array([k for k in found if k != row], dtype=np.int64)
        if by_component:
            rows = rows[solved.component[rows] == solved.component[row]]
        if len(rows):
            errors[row] = _place_error(solved.centre, truth, row, rows)
    return errors


def _place_error(centre: Floats, truth: Floats, row: int, rows: Ints) -> float:
    """Fit shift and turn about up of the neighbours; give what is left of the photo itself."""
    to_plane = np.array([1, 1j])
    source, target = centre[rows, :2] @ to_plane, truth[rows, :2] @ to_plane
    may_turn = len(rows) >= 3 and np.std(target) >= _TURN_NEEDS_M
    weights = np.ones(len(rows))
    for _ in range(10):
        w = weights / weights.sum()
        a, b = w @ source, w @ target
        lever = w @ (np.conj(source - a) * (target - b)) if may_turn else 1.0
        turn = lever / abs(lever) if abs(lever) > 1e-9 else 1.0
        left = np.abs(turn * (source - a) + b - target)
        weights = 1 / (1 + left**2)
    plane = turn * (centre[row, :2] @ to_plane - a) + b - truth[row, :2] @ to_plane
    up = centre[row, 2] - truth[row, 2] - np.median(centre[rows, 2] - truth[rows, 2])
    return float(np.hypot(abs(plane), up))


def correct_after_similarity(centre: Floats, truth: Floats) -> NDArray[np.bool_]:
    """Say which photos of a model are near the truth after its best similarity, shape (N,)."""
    similarity = best_similarity(centre, truth)
    if similarity is None:
        return np.zeros(len(centre), bool)
    left = np.linalg.norm(_moved(similarity, centre) - truth, axis=1)
    return np.asarray(left <= CORRECT_M)


def best_similarity(centre: Floats, truth: Floats) -> pycolmap.Sim3d | None:
    """Give the similarity that brings most cameras near the truth; None for fewer than three."""
    if len(centre) < 3:
        return None
    options = pycolmap.RANSACOptions(max_error=CORRECT_M, random_seed=0, min_num_trials=500)
    found = pycolmap.estimate_sim3d_robust(centre, truth, options)
    similarity = None if found is None else found["tgt_from_src"]
    for _ in range(10):
        if similarity is None:
            break
        good = np.linalg.norm(_moved(similarity, centre) - truth, axis=1) <= CORRECT_M
        if good.sum() < 3:
            break
        similarity = pycolmap.estimate_sim3d(centre[good], truth[good]) or similarity
    return similarity


def _moved(similarity: pycolmap.Sim3d, centre: Floats) -> Floats:
    turned = similarity.scale * similarity.rotation.matrix()
    return np.asarray(centre @ turned.T + similarity.translation)


def shaped(solved: Solved, truth: Floats) -> Solved:
    """Bring each component to the truth by its best similarity: what is left is its shape."""
    centre = solved.centre.copy()
    for number in np.unique(solved.component):
        rows = np.flatnonzero(solved.component == number)
        similarity = best_similarity(centre[rows], truth[rows])
        if similarity is not None:
            centre[rows] = _moved(similarity, centre[rows])
    return Solved(colmap_id=solved.colmap_id, component=solved.component, centre=centre)


def count_correct(solved: Solved, truth_of: dict[int, Floats]) -> int:
    """Count the photos that some model has right, see `correct_after_similarity`."""
    right: set[int] = set()
    for number in np.unique(solved.component):
        rows = np.flatnonzero(solved.component == number)
        ids = solved.colmap_id[rows]
        truth = np.array([truth_of[int(k)] for k in ids])
        right |= set(ids[correct_after_similarity(solved.centre[rows], truth)].tolist())
    return len(right)


def seam_gaps(registrations: pd.DataFrame) -> Floats:
    """Measure how far apart two boxes put the same photo.

    Args:
        registrations: colmap_id, solved_in, east_m, north_m, up_m after alignment; a photo may
            stand several times in a box, then the first row counts.

    Returns:
        One distance in metres for each photo and two boxes that hold it.
    """
    first = registrations.drop_duplicates(["colmap_id", "solved_in"])
    both = first.merge(first, on="colmap_id", suffixes=("_a", "_b"))
    both = both[both["solved_in_a"] < both["solved_in_b"]]
    names = ("east_m", "north_m", "up_m")
    gap = [both[f"{n}_a"].to_numpy(float) - both[f"{n}_b"].to_numpy(float) for n in names]
    return np.asarray(np.linalg.norm(np.stack(gap), axis=0))


@dataclass(frozen=True, kw_only=True)
class MapScores:
    """The figures of one way of mapping; NaN where nothing can be measured.

    Attributes:
        registered: Photos with a pose.
        registered_share: See `DEFINITIONS`, as all that follow.
        correct: Photos.
        models: Components or models.
        gross_errors: Photos.
        rel_inside_m: Metres.
        rel_shape_m: Metres.
        rel_across_m: Metres.
        rel_across_p95_m: Metres.
        abs_m: Metres.
    """

    registered: int
    registered_share: float
    correct: int
    models: int
    gross_errors: int
    rel_inside_m: float
    rel_shape_m: float
    rel_across_m: float
    rel_across_p95_m: float
    abs_m: float


def score(
    cameras: Solved,
    every: Solved,
    truth_of: dict[int, Floats],
    wanted: set[int],
    *,
    by_component: bool = False,
) -> MapScores:
    """Compare solved cameras with the truth.

    Args:
        cameras: One camera a photo, in the city frame.
        every: All cameras of all models; their frame does not matter.
        truth_of: True centre by colmap id, metres.
        wanted: The connectable photos.
        by_component: Judge a photo's place among neighbours of its own component only.
    """
    truth = np.array([truth_of[int(k)] for k in cameras.colmap_id]).reshape(-1, 3)
    inside, across = relative_errors(cameras, truth)
    place = place_errors(cameras, truth, by_component=by_component)
    off = np.linalg.norm((cameras.centre - truth)[:, :2], axis=1)
    registered = set(cameras.colmap_id.tolist())
    return MapScores(
        registered=len(registered),
        registered_share=len(registered & wanted) / len(wanted) if wanted else float("nan"),
        correct=count_correct(every, truth_of),
        models=len(np.unique(every.component)),
        gross_errors=int((place > GROSS_M).sum()),
        rel_inside_m=_percentile(inside, 50),
        rel_shape_m=_percentile(relative_errors(shaped(cameras, truth), truth)[0], 50),
        rel_across_m=_percentile(across, 50),
        rel_across_p95_m=_percentile(across, 95),
        abs_m=_percentile(off, 50),
    )


def _percentile(values: Floats, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else float("nan")
