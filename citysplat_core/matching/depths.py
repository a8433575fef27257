"""Metric depth of keypoints, from each photo's own sequence.

Each pair of neighbours in a sequence gives the depth of its matches in units of its baseline. Pairs
that share keypoints of a photo must agree on these depths, which ties their units to each other;
GPS says how long the baselines are. A keypoint that two pairs put at one depth is sure. Within one
pair that proves nothing: a row of look-alike houses has a depth too, a wrong one, as long as no
other pair is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, diags_array
from scipy.sparse.linalg import spsolve

from citysplat_core.matching.inliers import Inliers
from citysplat_core.matching.verify import Edges

LEAST_ANGLE_DEG: Final = 1.0
"""Rays that meet at less say nothing of a depth."""
DEPTH_SIGMA: Final = 0.06
"""Relative error of a sure depth: that of scale."""
_ANGLE_SIGMA_DEG: Final = 0.2
"""Error of the angle between two rays."""
_LEAST_SHARED: Final = 6
"""Keypoints that two pairs must share to be compared."""
_LAGS: Final = 8
"""A keypoint compares each pair that saw it with so many others."""
_ROUNDS: Final = 20
_GPS_STEP_M: Final = 1.5
"""Error of a distance between neighbours of a sequence, whose GPS errs alike."""
_ODD_SHARE: Final = 0.5
"""A pair that disagrees with more of those it is compared with is left out."""
_MANY_SIGMA: Final = 2.5
_TRUST_BY_STEPS: Final = np.array([0.0, 0.9, 0.85, 0.6, 0.5, 0.4, 0.4, 0.4, 0.35])
"""First guess of the share of true matches, by steps along the sequence: near pairs see the same
house, far ones its twin as easily."""
_CLEAN_SHARE: Final = 0.7
"""Pairs whose matches agree less often lend no depth that nobody confirms."""
_CHUNK: Final = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDepths:
    """What the pairs of neighbours say of the depth of their matches.

    Attributes:
        log_depth: Logarithm of the depth in metres in both photos, NaN for other pairs and for rays
            that do not meet in front, shape (M, 2).
        angle_deg: Angle between the rays, shape (M,).
        verdict: 1 if another pair confirms the depth, -1 if others contradict it, 0 if none has
            seen the keypoints, shape (M,).
        sure_key: ``photo row * stride + keypoint``, ascending, of confirmed keypoints, shape (S,).
        sure_log_depth: Their depths, shape (S,).
        stride: More than the largest keypoint number.
    """

    log_depth: NDArray[np.float64]
    angle_deg: NDArray[np.float64]
    verdict: NDArray[np.int8]
    sure_key: NDArray[np.int64]
    sure_log_depth: NDArray[np.float64]
    stride: int

    @property
    def sigma(self) -> NDArray[np.float64]:
        """Relative error of each depth by its angle, shape (M,)."""
        return np.hypot(DEPTH_SIGMA, _ANGLE_SIGMA_DEG / np.maximum(self.angle_deg, 0.3))


@dataclass(frozen=True, slots=True)
class _Seen:
    """Keypoints as pairs saw them, each match twice, sorted by key."""

    key: NDArray[np.int64]
    edge: NDArray[np.int64]
    match: NDArray[np.int64]
    log_depth: NDArray[np.float64]
    angle_deg: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Agreement:
    """Which of the sightings others confirm and contradict, their weights, and trust in pairs."""

    confirmed: NDArray[np.bool_]
    contradicted: NDArray[np.bool_]
    weight: NDArray[np.float64]
    trust: NDArray[np.float64]


def find_depths(
    edges: Edges,
    inliers: Inliers,
    usable: NDArray[np.bool_],
    steps: NDArray[np.int64],
    distance_m: NDArray[np.float64],
) -> PairDepths:
    """Find the metric depth of the matches of usable pairs, and which of them others confirm.

    Args:
        edges: Verified pairs.
        inliers: Their matches.
        usable: Pairs of neighbours in a sequence whose pose can be believed, shape (E,).
        steps: Photos from one to the other along the sequence, shape (E,).
        distance_m: Distance of the photos by GPS, shape (E,).
    """
    prior = np.where(usable, _TRUST_BY_STEPS[np.minimum(steps, len(_TRUST_BY_STEPS) - 1)], 0.0)
    return _find(
        edges, inliers, usable[inliers.edge], prior,
        lambda seen: _solve_scales(seen, len(edges), distance_m),
    )  # fmt: skip


def find_metric_depths(
    edges: Edges,
    inliers: Inliers,
    heard: NDArray[np.bool_],
    trust: NDArray[np.float64],
    baseline_m: NDArray[np.float64],
) -> PairDepths:
    """Find the depth of matches of pairs with known poses, and which of them others confirm.

    Args:
        edges: Pairs with their poses.
        inliers: Their matches.
        heard: Matches to be used, shape (M,).
        trust: Share of true matches to be expected of each pair, shape (E,).
        baseline_m: Distances of the photos, metres, shape (E,).
    """
    none = np.zeros(len(edges), dtype=bool)
    return _find(edges, inliers, heard, trust, lambda _: (baseline_m, none))


def _find(
    edges: Edges,
    inliers: Inliers,
    heard: NDArray[np.bool_],
    prior: NDArray[np.float64],
    scales_of: Callable[[_Seen], tuple[NDArray[np.float64], NDArray[np.bool_]]],
) -> PairDepths:
    """Find depths with the pairs' scales, and compare them."""
    first, second, angle = triangulate(edges, inliers)
    stride = int(inliers.point.max(initial=0)) + 1
    in_front = heard & (first > 0) & (second > 0)
    in_units = np.full((len(inliers), 2), np.nan)
    in_units[in_front] = np.log(np.stack([first[in_front], second[in_front]], axis=1))
    used = in_front & (angle > LEAST_ANGLE_DEG)
    trust = prior
    for _ in range(2):  # the second time without what the first found to be false
        seen = _sightings(edges, inliers, in_units, angle, used, stride)
        scale, is_odd = scales_of(seen)
        agreement = _compare(seen, np.log(scale), prior, trust)
        trust = agreement.trust
        verdict = np.zeros(len(inliers), dtype=np.int8)
        np.maximum.at(verdict, seen.match, agreement.confirmed.astype(np.int8))
        np.minimum.at(verdict, seen.match[agreement.contradicted], np.int8(-1))
        sure_of_pair = (verdict == 0) & (trust > _CLEAN_SHARE)[inliers.edge]
        used = used & ~is_odd[inliers.edge] & ((verdict > 0) | sure_of_pair)
    good = agreement.confirmed
    key, place = np.unique(seen.key[good], return_inverse=True)
    weight = agreement.weight[good]
    metric = (seen.log_depth + np.log(scale)[seen.edge])[good]
    sure = np.bincount(place, weight * metric) / np.maximum(np.bincount(place, weight), 1e-12)
    return PairDepths(
        log_depth=in_units + np.log(np.where(is_odd, np.nan, scale))[inliers.edge, None],
        angle_deg=angle, verdict=verdict, sure_key=key, sure_log_depth=sure, stride=stride,
    )  # fmt: skip


def triangulate(
    edges: Edges, inliers: Inliers
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Triangulate all matches in units of their pair's baseline.

    Returns:
        Depth in the first and in the second photo and the angle between the rays in degrees, each
        of shape (M,); a depth may be negative where the rays meet behind a camera.
    """
    length = np.linalg.norm(edges.translation, axis=1, keepdims=True)
    unit = edges.translation / np.maximum(length, 1e-12)
    out = np.empty((3, len(inliers)))
    for first in range(0, len(inliers), _CHUNK):
        part = slice(first, first + _CHUNK)
        edge = inliers.edge[part]
        ray = np.concatenate([inliers.bearing[part], np.ones((len(edge), 2, 1))], axis=2)
        turned = np.einsum("eij,ej->ei", edges.rotation[edge], ray[:, 0])
        across, moved = np.cross(ray[:, 1], turned), np.cross(ray[:, 1], unit[edge])
        squared = np.maximum((across**2).sum(axis=1), 1e-12)
        depth = -(across * moved).sum(axis=1) / squared
        out[0, part] = depth
        out[1, part] = depth * turned[:, 2] + unit[edge, 2]
        out[2, part] = np.degrees(np.arctan2(np.sqrt(squared), (turned * ray[:, 1]).sum(axis=1)))
    return out[0], out[1], out[2]


def _sightings(
    edges: Edges,
    inliers: Inliers,
    log_depth: NDArray[np.float64],
    angle_deg: NDArray[np.float64],
    used: NDArray[np.bool_],
    stride: int,
) -> _Seen:
    match = np.flatnonzero(used)
    edge = inliers.edge[match].astype(np.int64)
    keys = edges.rows[edge] * stride + inliers.point[match]
    order = np.argsort(keys.T.ravel(), kind="stable")
    return _Seen(
        keys.T.ravel()[order],
        np.tile(edge, 2)[order],
        np.tile(match, 2)[order],
        log_depth[match].T.ravel()[order],
        np.tile(angle_deg[match], 2)[order],
    )


def _compare(
    seen: _Seen,
    log_scale: NDArray[np.float64],
    prior: NDArray[np.float64],
    trust: NDArray[np.float64],
) -> _Agreement:
    """Compare each sighting with what all others of its keypoint say, weighted by their trust."""
    depth = seen.log_depth + log_scale[seen.edge]
    sigma = np.hypot(DEPTH_SIGMA, _ANGLE_SIGMA_DEG / seen.angle_deg)
    _, place = np.unique(seen.key, return_inverse=True)
    alone = np.bincount(place)[place] < 2 if len(place) else np.empty(0, dtype=bool)
    n_edges = len(prior)
    for _ in range(3):
        weight = (trust[seen.edge] ** 2 / sigma) ** 2
        others = np.bincount(place, weight)[place] - weight
        said = np.bincount(place, weight * depth)[place] - weight * depth
        apart = np.abs(depth - said / np.maximum(others, 1e-12))
        far = apart >= _MANY_SIGMA * np.hypot(sigma, 0.1)
        confirmed, contradicted = ~alone & ~far, ~alone & far & (others >= 0.5 * weight)
        yes = np.bincount(seen.edge, confirmed, n_edges)
        no = np.bincount(seen.edge, contradicted, n_edges)
        trust = np.where(prior > 0, (yes + 2.0 * prior) / (yes + no + 2.0), 0.0)
    return _Agreement(confirmed, contradicted, weight, trust)


def _solve_scales(
    seen: _Seen, n_edges: int, distance_m: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Find the length of every pair's baseline, metres, and which pairs most others contradict."""
    scale, odd = np.full(n_edges, np.nan), np.zeros(n_edges, dtype=bool)
    own = np.unique(seen.edge)
    if not len(own):
        return scale, odd
    place = np.zeros(n_edges, dtype=np.int64)
    place[own] = np.arange(len(own))
    a, b, ratio, sigma = _links(seen, n_edges)
    a, b = place[a], place[b]
    said_m = np.maximum(distance_m[own], 0.5)
    prior, prior_sigma = np.log(said_m), np.log(1.0 + _GPS_STEP_M / said_m) + 0.05
    log_scale = prior.copy()
    for _ in range(_ROUNDS):
        link = (log_scale[b] - log_scale[a] - ratio) / sigma
        gap = (log_scale - prior) / prior_sigma
        w_link = 1.0 / (sigma**2 * (1.0 + (link / 2.0) ** 2))
        w_prior = 1.0 / (prior_sigma**2 * (1.0 + (gap / 1.5) ** 2))
        pull = np.bincount(b, w_link * ratio, len(own)) - np.bincount(a, w_link * ratio, len(own))
        matrix = laplacian(a, b, w_link, len(own)) + diags_array(w_prior)
        log_scale = spsolve(matrix.tocsc(), pull + w_prior * prior)
    far = np.abs(log_scale[b] - log_scale[a] - ratio) > 3.0 * sigma
    both = np.concatenate([a, b])
    number = np.maximum(np.bincount(both, minlength=len(own)), 1)
    share = np.bincount(both, np.tile(far, 2), len(own)) / number
    scale[own], odd[own] = np.exp(log_scale), share > _ODD_SHARE
    return scale, odd


def laplacian(
    a: NDArray[np.int64], b: NDArray[np.int64], weight: NDArray[np.float64], n: int
) -> coo_array:
    """Return the matrix of sum(weight * (x_b - x_a)^2) over n unknowns."""
    values = np.concatenate([weight, weight, -weight, -weight])
    rows, columns = np.concatenate([a, b, a, b]), np.concatenate([a, b, b, a])
    return coo_array((values, (rows, columns)), shape=(n, n))


def _links(
    seen: _Seen, n_edges: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Compare pairs that saw the same keypoints: log ratio of their units and its error."""
    pairs, ratios = [], []
    for lag in range(1, _LAGS + 1):
        same = seen.key[lag:] == seen.key[:-lag]
        one, two = seen.edge[:-lag][same], seen.edge[lag:][same]
        ratio = seen.log_depth[:-lag][same] - seen.log_depth[lag:][same]
        pairs.append(np.minimum(one, two) * n_edges + np.maximum(one, two))
        ratios.append(np.where(one > two, -ratio, ratio))
    key, value = np.concatenate(pairs), np.concatenate(ratios)
    order = np.lexsort((value, key))
    key, value = key[order], value[order]
    link, start, count = np.unique(key, return_index=True, return_counts=True)
    low, middle, high = (
        value[start + np.minimum((share * count).astype(np.int64), count - 1)]
        for share in (0.25, 0.5, 0.75)
    )
    kept = count >= _LEAST_SHARED
    spread = np.maximum((high - low)[kept] / 1.35, 0.03) / np.sqrt(count[kept]) + 0.03
    sigma = np.hypot(spread, 0.1)
    return link[kept] // n_edges, link[kept] % n_edges, middle[kept], sigma
