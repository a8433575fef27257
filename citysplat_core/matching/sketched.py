"""What every match says once a sketch has placed the photos: the same questions, sharper.

With poses to 0.1 or 0.2 m and half a degree every pair of near photos gives depths, not only those
of one sequence; places must agree more closely; and a match whose rays pass each other is false
whatever its depth.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.depths import find_metric_depths
from citysplat_core.matching.evidence import CLOSE_M, Evidence
from citysplat_core.matching.inliers import Inliers
from citysplat_core.matching.lens import straighten
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.scene import SIGMAS, Scene
from citysplat_core.matching.sketch import Sketch
from citysplat_core.matching.street_map import add_street_depths
from citysplat_core.matching.surroundings import MatchDepths, complete_depths
from citysplat_core.matching.verify import Edges

_PLACE_SIGMA_M: Final = 0.3
_HEADING_SIGMA: Final = 0.012
_SHORTEST_M: Final = 0.5
"""Baselines from which on a pair gives depths."""
_LEAST_PARALLAX_M: Final = 1.0
"""Photos this far apart have an epipolar plane that a position error hardly turns."""
_GOOD_PASS_DEG: Final = 1.0
"""Rays that pass each other by less give a depth."""
_MOST_PASS_DEG: Final = 1.5
"""Rays that pass each other by more belong to two things."""
_LEAST_TRUST, _MOST_TRUST = 0.35, 0.9


def weigh_sketched(
    photos: Photos,
    edges: Edges,
    inliers: Inliers,
    before: Evidence,
    sketch: Sketch,
    believed: NDArray[np.bool_],
) -> Evidence:
    """Ask every match again, with the poses of a sketch.

    Where the sketch knows nothing of a photo, what was found before stands.

    Args:
        photos: The photos.
        edges: Verified pairs.
        inliers: All their inlier matches.
        before: What the matches said without a sketch.
        sketch: Poses of the photos.
        believed: Pairs that may lend depths, shape (E,).
    """
    first, second = edges.rows.T
    known = np.asarray(sketch.is_known[edges.rows].all(axis=1))
    posed, baseline_m = _by_sketch(edges, sketch, known)
    inliers = straighten_matches(edges, inliers, sketch)
    passing = np.where(known[inliers.edge], passing_deg(posed, inliers), 0.0)
    lends = believed & known & (baseline_m > _SHORTEST_M)
    lends &= before.is_tested | (before.steps > 0)
    trust = np.where(lends, np.clip(before.share_for, _LEAST_TRUST, _MOST_TRUST), 0.0)
    heard = lends[inliers.edge] & (passing < _GOOD_PASS_DEG)
    found = find_metric_depths(posed, inliers, heard, trust, baseline_m)
    depths = _keep_unknown(
        complete_depths(posed, inliers, found), before.depths, known[inliers.edge]
    )
    correction = sketch.centre_m[:, :2] - photos.east_north_m
    depths, is_wrong = add_street_depths(depths, sketch.centre_m[:, :2], sketch.heading_deg)
    scene = Scene(
        gps_m=photos.east_north_m, rotation=sketch.rotation,
        edges=posed, inliers=inliers, depths=depths,
        place_sigma_m=np.full(len(edges), _PLACE_SIGMA_M),
        heading_sigma=np.full(len(edges), _HEADING_SIGMA),
    )  # fmt: skip
    deviation = scene.deviation(correction)
    verdict = np.where(deviation < SIGMAS, 1, -1).astype(np.int8)
    verdict[np.isnan(deviation)] = 0
    passes = (known & (baseline_m > _LEAST_PARALLAX_M))[inliers.edge] & (passing > _MOST_PASS_DEG)
    verdict[passes & (verdict != 0)] = -1
    own = (before.steps > 0) & (lends | ~known) & ~is_wrong[edges.rows].any(axis=1)
    told = own[inliers.edge] & (depths.verdict != 0)
    verdict[told] = depths.verdict[told]
    verdict[told & (deviation >= SIGMAS)] = -1
    distance_m = np.hypot(*(photos.east_north_m[second] - photos.east_north_m[first]).T)
    close = (verdict == 0) & (distance_m < CLOSE_M)[inliers.edge]
    verdict[close] = scene.compare_directions(correction, distance_m)[close]
    verdict = np.where(known[inliers.edge], verdict, before.verdict)
    yaws = replace(before.yaws, heading_deg=sketch.heading_deg)
    return Evidence.of(
        verdict, inliers.edge, len(edges), yaws=yaws, correction_m=correction,
        steps=before.steps, depths=depths, is_sketched=known,
    )  # fmt: skip


def straighten_matches(edges: Edges, inliers: Inliers, sketch: Sketch) -> Inliers:
    """Undo what lenses do, by a sketch, beyond what they are said to do."""
    photo = edges.rows[inliers.edge]
    sides = [
        straighten(inliers.bearing[:, side], sketch.focal[row], sketch.radial[row])
        for side, row in enumerate(photo.T)
    ]
    return replace(inliers, bearing=np.stack(sides, axis=1))


def passing_deg(edges: Edges, inliers: Inliers) -> NDArray[np.float64]:
    """Return by how much the two rays of each match pass each other, degrees, shape (M,).

    The angle between the second ray and the plane of the first ray and the baseline.
    """
    ray = np.concatenate([inliers.bearing, np.ones((len(inliers), 2, 1))], axis=2)
    turned = np.einsum("mij,mj->mi", edges.rotation[inliers.edge], ray[:, 0])
    normal = np.cross(edges.translation[inliers.edge], turned)
    size = np.linalg.norm(normal, axis=1) * np.linalg.norm(ray[:, 1], axis=1)
    sine = np.abs((normal * ray[:, 1]).sum(axis=1)) / np.maximum(size, 1e-12)
    return np.asarray(np.degrees(np.arcsin(np.minimum(sine, 1.0))))


def _by_sketch(
    edges: Edges, sketch: Sketch, known: NDArray[np.bool_]
) -> tuple[Edges, NDArray[np.float64]]:
    """Give known pairs the relative poses of the sketch; and all pairs its baselines, metres."""
    first, second = edges.rows.T
    way = sketch.centre_m[first] - sketch.centre_m[second]
    baseline_m = np.linalg.norm(way, axis=1)
    turn = sketch.rotation[second] @ sketch.rotation[first].transpose(0, 2, 1)
    unit = way / np.maximum(baseline_m, 1e-9)[:, None]
    move = np.einsum("eij,ej->ei", sketch.rotation[second], unit)
    posed = replace(
        edges,
        rotation=np.where(known[:, None, None], turn, edges.rotation),
        translation=np.where(known[:, None], move, edges.translation),
    )
    return posed, baseline_m


def _keep_unknown(
    depths: MatchDepths, before: MatchDepths, known: NDArray[np.bool_]
) -> MatchDepths:
    """Keep the depths of before where there is no new one; ``known`` says which matches are."""
    lacks = np.isnan(depths.keypoint_depth_m)
    return replace(
        depths,
        verdict=np.where(known, depths.verdict, before.verdict),
        keypoint_depth_m=np.where(lacks, before.keypoint_depth_m, depths.keypoint_depth_m),
        keypoint_sigma=np.where(lacks, before.keypoint_sigma, depths.keypoint_sigma),
    )
