"""Normal equations of a bundle adjustment: what all sightings say of photos, lenses and points."""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import bsr_array, coo_array, csr_array, hstack, vstack

from citysplat_core.matching.lens import bend, stretch_of

NEAREST_M: Final = 0.5
"""Nearer points have no say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """Who sees which point where.

    Attributes:
        photo: Rows of photos, shape (O,).
        point: Rows of points, shape (O,).
        bearing: Undistorted image points at depth 1 (x right, y down), shape (O, 2).
        lens: Number of the lens of each photo, 0 to L - 1, shape (N,).
    """

    photo: NDArray[np.int64]
    point: NDArray[np.int64]
    bearing: NDArray[np.float64]
    lens: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Poses and points in metres east, north, up.

    Attributes:
        rotation: Camera (x right, y down, z forward) from world, shape (N, 3, 3).
        centre_m: Places of the cameras, shape (N, 3).
        point_m: Places of the points, shape (P, 3).
        focal: True focal length of each lens as a share of the supposed one, shape (L,).
        radial: First radial term of each lens beside the supposed ones, shape (L,).
    """

    rotation: NDArray[np.float64]
    centre_m: NDArray[np.float64]
    point_m: NDArray[np.float64]
    focal: NDArray[np.float64]
    radial: NDArray[np.float64]

    def seen(self, sightings: Sightings) -> NDArray[np.float64]:
        """Return the points in camera axes, one row a sighting, shape (O, 3)."""
        way = self.point_m[sightings.point] - self.centre_m[sightings.photo]
        return np.asarray(np.einsum("oij,oj->oi", self.rotation[sightings.photo], way))

    def misses(self, sightings: Sightings) -> NDArray[np.float64]:
        """Return how far points are from where they are seen, in tangents, shape (O,)."""
        seen = self.seen(sightings)
        image = seen[:, :2] / np.maximum(seen[:, 2:], NEAREST_M)
        lens = sightings.lens[sightings.photo]
        gap = bend(image, self.focal[lens], self.radial[lens]) - sightings.bearing
        return np.hypot(gap[:, 0], gap[:, 1])


@dataclass(frozen=True, slots=True)
class Normal:
    """Blocks of the normal equations.

    Photos have six unknowns each (turn, then move), lenses two (focal, radial), points three.
    """

    photos: NDArray[np.float64]
    lenses: NDArray[np.float64]
    points: NDArray[np.float64]
    photo_lens: NDArray[np.float64]
    photo_point: NDArray[np.float64]
    lens_point: NDArray[np.float64]
    photo_pull: NDArray[np.float64]
    lens_pull: NDArray[np.float64]
    point_pull: NDArray[np.float64]


def adders(bundle: Bundle, sightings: Sightings) -> tuple[csr_array, csr_array, csr_array]:
    """Return the matrices that add up rows of sightings by photo, by lens and by point."""
    return (
        _adder(sightings.photo, len(bundle.rotation)),
        _adder(sightings.lens[sightings.photo], len(bundle.focal)),
        _adder(sightings.point, len(bundle.point_m)),
    )


def _adder(group: NDArray[np.int64], n_groups: int) -> csr_array:
    """Return the matrix that adds up the rows of each group."""
    count = len(group)
    return coo_array((np.ones(count), (group, np.arange(count))), shape=(n_groups, count)).tocsr()


def observe(
    bundle: Bundle, sightings: Sightings, scale: float, sums: tuple[csr_array, csr_array, csr_array]
) -> Normal:
    """Linearize all sightings with Cauchy weights of a scale.

    Args:
        bundle: Where everything is.
        sightings: What is seen.
        scale: Of the robust loss, tangents.
        sums: By `adders`.
    """
    seen = bundle.seen(sightings)
    depth = np.maximum(seen[:, 2], NEAREST_M)
    image = seen[:, :2] / depth[:, None]
    of_lens = sightings.lens[sightings.photo]
    focal, radial = bundle.focal[of_lens], bundle.radial[of_lens]
    stretch, square = stretch_of(image, radial)
    gap = (image * (focal * stretch)[:, None] - sightings.bearing)[:, :, None]
    weight = 1.0 / (scale**2 + (gap**2).sum(axis=(1, 2)))
    weight[seen[:, 2] < NEAREST_M] = 0.0
    by_image = (2.0 * radial)[:, None, None] * image[:, :, None] * image[:, None, :]
    by_image[:, (0, 1), (0, 1)] += stretch[:, None]
    by_image *= (focal / depth)[:, None, None]
    project = np.concatenate([by_image, -by_image @ image[:, :, None]], axis=2)
    by_point = project @ bundle.rotation[sightings.photo]
    by_photo = np.concatenate([-project @ cross_matrices(seen), -by_point], axis=2)
    by_lens = image[:, :, None] * np.stack([stretch, focal * square], axis=1)[:, None, :]
    photo, lens, point = (
        (each * weight[:, None, None]).transpose(0, 2, 1) for each in (by_photo, by_lens, by_point)
    )
    per_photo, per_lens, per_point = (partial(_sum_blocks, adder) for adder in sums)
    return Normal(
        photos=per_photo(photo @ by_photo),
        lenses=per_lens(lens @ by_lens),
        points=per_point(point @ by_point),
        photo_lens=per_photo(photo @ by_lens),
        photo_point=photo @ by_point,
        lens_point=lens @ by_point,
        photo_pull=-per_photo(photo @ gap)[:, :, 0],
        lens_pull=-per_lens(lens @ gap)[:, :, 0],
        point_pull=-per_point(point @ gap)[:, :, 0],
    )


def _sum_blocks(adder: csr_array, blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the blocks (O, a, b) of each group."""
    flat = adder @ blocks.reshape(len(blocks), -1)
    return np.asarray(flat.reshape(-1, *blocks.shape[1:]))


def ties(normal: Normal, sightings: Sightings) -> csr_array:
    """Tie photos, then lenses, to points: shape (6 N + 2 L, 3 P)."""
    n_photos, n_points = len(normal.photos), len(normal.points)
    order = np.lexsort((sightings.point, sightings.photo))
    starts = np.searchsorted(sightings.photo[order], np.arange(n_photos + 1))
    blocks = (normal.photo_point[order], sightings.point[order], starts)
    of_photos = bsr_array(blocks, shape=(6 * n_photos, 3 * n_points)).tocsr()
    lens = sightings.lens[sightings.photo]
    row = np.broadcast_to(2 * lens[:, None, None] + [[0], [1]], normal.lens_point.shape)
    column = 3 * sightings.point[:, None, None] + np.arange(3)
    column = np.broadcast_to(column, normal.lens_point.shape)
    of_lenses = coo_array(
        (normal.lens_point.ravel(), (row.ravel(), column.ravel())),
        shape=(2 * len(normal.lenses), 3 * n_points),
    )
    return csr_array(vstack([of_photos, of_lenses.tocsr()]))


def unknowns(normal: Normal, lens: NDArray[np.int64]) -> csr_array:
    """Put the blocks of photos and lenses together."""
    n_photos = len(normal.photos)
    rows = np.repeat(np.arange(6 * n_photos), 2)
    columns = np.repeat(2 * lens, 12) + np.tile([0, 1], 6 * n_photos)
    coupling = coo_array(
        (normal.photo_lens.ravel(), (rows, columns)),
        shape=(6 * n_photos, 2 * len(normal.lenses)),
    ).tocsr()
    photos, lenses = diagonal(normal.photos), diagonal(normal.lenses)
    of_photos, of_lenses = hstack([photos, coupling]), hstack([coupling.T, lenses])
    return csr_array(vstack([of_photos, of_lenses]))


def diagonal(blocks: NDArray[np.float64]) -> csr_array:
    """Put square blocks (N, a, a) along the diagonal of a matrix."""
    count, size, _ = blocks.shape
    whole = (blocks, np.arange(count), np.arange(count + 1))
    return bsr_array(whole, shape=(size * count, size * count)).tocsr()


def cross_matrices(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrices of the cross product with vectors, shape (N, 3, 3)."""
    out = np.zeros((len(vector), 3, 3))
    x, y, z = vector.T
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = -z, y, -x
    return out - out.transpose(0, 2, 1)
