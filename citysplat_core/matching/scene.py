"""Where photos put the points of their matches, and how far two photos disagree on a place."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from citysplat_core.matching.inliers import Inliers
from citysplat_core.matching.pairs import wrap_deg
from citysplat_core.matching.surroundings import MatchDepths
from citysplat_core.matching.verify import Edges

SIGMAS: Final = 3.0
"""Expected errors from which on two photos put a match in two places."""
_NEAREST_THING_M: Final = 5.0
_CLOSE_SLACK_M, _CLOSE_SLACK_DEG = 0.7, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Photos with headings or whole rotations, and the depths of their keypoints.

    Attributes:
        gps_m: East and north by GPS, metres, shape (N, 2).
        rotation: Camera from east, north, up, NaN where unknown, shape (N, 3, 3).
        edges: Verified pairs.
        inliers: Their matches.
        depths: Depths of the keypoints.
        place_sigma_m: Error of a place by the positions of the two photos, shape (E,).
        heading_sigma: Error of a place by their headings, as a share of its distance, shape (E,).
    """

    gps_m: NDArray[np.float64]
    rotation: NDArray[np.float64]
    edges: Edges
    inliers: Inliers
    depths: MatchDepths
    place_sigma_m: NDArray[np.float64]
    heading_sigma: NDArray[np.float64]

    def ways(self) -> NDArray[np.float64]:
        """East and north from the camera to both keypoints at depth 1, shape (M, 2, 2)."""
        ray = np.concatenate([self.inliers.bearing, np.ones((len(self.inliers), 2, 1))], axis=2)
        turn = self.rotation[self.edges.rows[self.inliers.edge], :, :2]
        return np.asarray(np.einsum("mkji,mkj->mki", turn, ray))

    def offsets(
        self, correction_m: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Place by the second photo less place by the first, (M, 2), and its expected error."""
        place = self._positions(correction_m) + self.ways() * self.depths.depth_m[:, :, None]
        error = self.depths.depth_m * self.depths.sigma
        heading = self.heading_sigma[self.inliers.edge] * self.depths.depth_m.mean(axis=1)
        fixed = self.place_sigma_m[self.inliers.edge]
        sigma = np.sqrt(fixed**2 + heading**2 + (error**2).sum(axis=1))
        return place[:, 1] - place[:, 0], sigma

    def deviation(self, correction_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """The worst disagreement on each match in expected errors, NaN without a depth, (M,)."""
        offset, sigma = self.offsets(correction_m)
        worst = np.hypot(*offset.T) / sigma
        position, way = self._positions(correction_m), self.ways()
        ray = way / np.linalg.norm(way, axis=2, keepdims=True)
        place = position + way * self.depths.depth_m[:, :, None]
        parallax = np.abs(_cross(ray[:, 0], ray[:, 1]))
        fixed = self.place_sigma_m[self.inliers.edge]
        for side in (0, 1):  # as the other photo sees it, across its line of sight
            seen = place[:, side] - position[:, 1 - side]
            sight = ray[:, 1 - side]
            range_m = np.hypot(*seen.T)
            in_front = (seen * sight).sum(axis=1) > 0
            aside = np.where(in_front, np.abs(_cross(seen, sight)), range_m)
            along = self.depths.depth_m[:, side] * self.depths.sigma[:, side] * parallax
            heading = self.heading_sigma[self.inliers.edge] * range_m
            worst = np.fmax(worst, aside / np.sqrt(fixed**2 + heading**2 + along**2))
        return np.asarray(worst)

    def compare_directions(
        self, correction_m: NDArray[np.float64], distance_m: NDArray[np.float64]
    ) -> NDArray[np.int8]:
        """Say which matches two photos at nearly one place see in one direction (1) or in two (-1).

        0 where a heading is unknown, shape (M,).
        """
        way = self.ways()
        angle = np.degrees(np.arctan2(_cross(way[:, 0], way[:, 1]), (way[:, 0] * way[:, 1]).sum(1)))
        first, second = self.edges.rows.T
        move = (self.gps_m + correction_m)[second] - (self.gps_m + correction_m)[first]
        way_m = np.minimum(np.hypot(*move.T), distance_m) + _CLOSE_SLACK_M
        limit = np.degrees(np.arctan2(way_m, _NEAREST_THING_M)) + _CLOSE_SLACK_DEG
        agrees = np.where(np.abs(wrap_deg(angle)) < limit[self.inliers.edge], 1, -1)
        return np.where(np.isfinite(angle), agrees, 0).astype(np.int8)

    def _positions(self, correction_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Corrected positions of both photos of each match, shape (M, 2, 2)."""
        return np.asarray((self.gps_m + correction_m)[self.edges.rows[self.inliers.edge]])


def _cross(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
