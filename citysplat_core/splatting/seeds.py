"""The Gaussians that training starts from: SfM points, pixels set at their depth, and a sky."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from citysplat_core.splatting.gaussians import NAMES, Gaussians, colour_to_sh0
from citysplat_core.splatting.recipe import Recipe
from citysplat_core.splatting.scene import BoxScene
from citysplat_core.splatting.views import View

Floats = NDArray[np.float64]

_REACH = 0.12  # a pixel borrows depth from SfM points within this share of the picture's width
_NEIGHBOURS = 3


def first_gaussians(
    scene: BoxScene,
    *,
    cap: int,
    sh_degree: int,
    recipe: Recipe,
    seed: int,
    device: torch.device,
) -> Gaussians:
    """Make the Gaussians that training starts from.

    SfM points are few and sit on texture. Random pixels of the training photos, set at the depth
    of the SfM points around them, cover roads and plain walls as well. A shell of fixed
    Gaussians far outside stands for the sky. No held-out photo is looked at.

    Args:
        scene: The box's scene.
        cap: Most Gaussians, sky not counted.
        sh_degree: Highest degree of view-dependent colour.
        recipe: Shares and rates.
        seed: Seed of the draws.
        device: Where the Gaussians live.

    Returns:
        Gaussians with a fresh optimiser; the sky's rows come first.
    """
    rng = np.random.default_rng(seed)
    points, colours = _coloured_points(scene)
    if len(points) > cap:
        kept = np.sort(rng.choice(len(points), cap, replace=False))
        points, colours = points[kept], colours[kept]
    missing = int(cap * recipe.start_share) - len(points)
    if missing > 0:
        more, more_colours = _lifted_pixels(scene.train, missing, rng)
        points, colours = np.concatenate([points, more]), np.concatenate([colours, more_colours])
    sigma = _spacing_m(points, scene.scale_m)
    sky, sky_sigma, sky_colours = _sky(scene, recipe.n_sky)
    means = np.concatenate([sky, points])
    sigmas = np.concatenate([np.full(len(sky), sky_sigma), sigma])
    opacity = np.concatenate([np.full(len(sky), 0.9), np.full(len(points), recipe.start_opacity)])
    rgb = np.concatenate([sky_colours, colours])
    parameters = _parameters(means, sigmas, opacity, rgb, sh_degree, device)
    return Gaussians(parameters, n_sky=len(sky), learning_rates=recipe.rates(scene.scale_m))


def _parameters(
    means: Floats,
    sigmas: Floats,
    opacity: Floats,
    rgb: Floats,
    sh_degree: int,
    device: torch.device,
) -> dict[str, Tensor]:
    n = len(means)
    columns = [torch.from_numpy(np.asarray(a, np.float32)) for a in (means, sigmas, opacity, rgb)]
    quats = torch.zeros(n, 4)
    quats[:, 0] = 1.0
    values = (
        columns[0],
        torch.log(columns[1])[:, None].repeat(1, 3),
        quats,
        torch.logit(columns[2]),
        colour_to_sh0(columns[3]),
        torch.zeros(n, (sh_degree + 1) ** 2 - 1, 3),
    )
    return {name: t.contiguous().to(device) for name, t in zip(NAMES, values, strict=True)}


def _coloured_points(scene: BoxScene) -> tuple[Floats, Floats]:
    """SfM points that a training photo sees, with the mean colour of their pixels, 0 to 1."""
    total = np.zeros((len(scene.points), 4))
    for view in scene.train:
        pixels, _, rows = view.project()
        x, y = pixels.astype(int).T
        np.add.at(total, rows, np.c_[view.photo[y, x] / 255.0, np.ones(len(rows))])
    seen = total[:, 3] > 0
    return scene.points[seen], total[seen, :3] / total[seen, 3:]


def _lifted_pixels(views: list[View], n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Random pixels of all views at the depth that the SfM points around them suggest."""
    share = math.ceil(n / len(views))
    points, colours = [np.zeros((0, 3))], [np.zeros((0, 3))]
    for view in views:
        pixels, depths, _ = view.project()
        height, width = view.photo.shape[:2]
        wanted = rng.uniform((0, 0), (width, height), (share, 2))
        if len(pixels) < _NEIGHBOURS:
            continue
        distance, index = _nearest(pixels, wanted, _NEIGHBOURS)
        x, y = wanted.astype(int).T
        near = (distance[:, 0] < _REACH * width) & (view.mask is None or view.mask[y, x])
        wanted, weight = wanted[near], 1.0 / (distance[near] + 1.0)
        disparity = (weight / depths[index[near]]).sum(1) / weight.sum(1)
        rays = np.c_[wanted, np.ones(len(wanted))] @ np.linalg.inv(view.intrinsics).T
        rotation = view.camera_from_local[:3, :3]
        points.append((rays / disparity[:, None]) @ rotation + view.centre_m)
        x, y = wanted.astype(int).T
        colours.append(view.photo[y, x] / 255.0)
    return np.concatenate(points), np.concatenate(colours)


def _nearest(places: Floats, queries: Floats, k: int) -> tuple[Floats, NDArray[np.intp]]:
    """Distances and rows of the ``k`` (at least 2) nearest places of each query, shape (Q, k)."""
    distance, row = cKDTree(places).query(queries, k=k)
    return np.asarray(distance), np.asarray(row)


def _spacing_m(points: Floats, scale_m: float) -> Floats:
    """RMS distance to the three nearest other points, metres, kept within reason."""
    if len(points) < 4:
        return np.full(len(points), 0.01 * scale_m)
    distance, _ = _nearest(points, points, 4)
    spacing: Floats = np.sqrt((distance[:, 1:] ** 2).mean(axis=1))
    return np.clip(spacing, 1e-3, 0.05 * scale_m)


def _sky(scene: BoxScene, n: int) -> tuple[Floats, float, Floats]:
    """Points of a dome around the cameras, their size, and the colour of the photos' top rows."""
    centre = np.mean([view.centre_m for view in scene.train], axis=0)
    radius = float(np.clip(10.0 * scene.scale_m, 500.0, 1500.0))
    height = np.linspace(-0.05, 1.0, n)  # even heights cover a sphere evenly
    angle = np.arange(n) * math.pi * (3.0 - math.sqrt(5.0))
    flat = np.sqrt(1.0 - height**2)
    dome = np.c_[flat * np.cos(angle), flat * np.sin(angle), height]
    colour = np.median(np.concatenate([_top_pixels(v) for v in scene.train]), axis=0) / 255.0
    sigma = 0.7 * radius * math.sqrt(2.0 * math.pi * 1.05 / n)
    return centre + radius * dome, sigma, np.tile(colour, (n, 1))


def _top_pixels(view: View) -> NDArray[np.uint8]:
    """Pixels of a photo's top rows, without masked ones where others are left, shape (P, 3)."""
    rows = max(1, view.photo.shape[0] // 10)
    pixels: NDArray[np.uint8] = view.photo[:rows].reshape(-1, 3)
    if view.mask is None or not view.mask[:rows].any():
        return pixels
    return pixels[view.mask[:rows].reshape(-1)]
