"""Densification as Markov chain Monte Carlo (Kheradmand et al. 2024), in plain torch.

Dead Gaussians move to live ones, the number grows to a fixed cap, and noise lets transparent
ones wander. The result's size is known before training begins.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from citysplat_core.splatting.gaussians import Gaussians

_MOST_COPIES = 51


@dataclass(frozen=True, slots=True, kw_only=True)
class McmcSettings:
    """How Gaussians are moved, grown and shaken."""

    cap: int
    """Most Gaussians, sky not counted."""
    min_opacity: float = 0.005
    """Gaussians that are more transparent are dead."""
    growth: float = 1.05
    """The number is multiplied by this at each refinement, until the cap."""
    noise: float = 5e5
    """Noise in units of the learning rate of positions, for a scene of size 1."""


def relocated(opacities: Tensor, scales: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Give opacity and scale of n coincident Gaussians that look like the one they replace.

    Equation 9 of the paper: the opacities blend to the old one, and the scale keeps the
    integral of the blended density along a line through the centre.

    Args:
        opacities: Old opacities, shape (M,).
        scales: Old standard deviations, shape (M, 3).
        copies: How many take the place of each, shape (M,); at least 1, cut at 51.

    Returns:
        New opacities (M,) and scales (M, 3).
    """
    n = copies.clamp(1, _MOST_COPIES)
    o = opacities.double()
    o_new = 1.0 - (1.0 - o) ** (1.0 / n)
    weights = _binomial_weights().to(o.device)[n.long()]
    powers = o_new[:, None] ** torch.arange(1, _MOST_COPIES + 1, device=o.device)
    spread = (weights * powers).sum(1)
    return o_new.to(opacities.dtype), ((o / spread)[:, None] * scales).to(scales.dtype)


def _binomial_weights() -> Tensor:
    """``W[n, k]`` = sum over i <= n of binom(i-1, k) (-1)^k / sqrt(k+1)."""
    table = torch.zeros(_MOST_COPIES + 1, _MOST_COPIES, dtype=torch.float64)
    for i in range(1, _MOST_COPIES + 1):
        table[i] = table[i - 1]
        for k in range(i):
            table[i, k] += math.comb(i - 1, k) * (-1.0) ** k / math.sqrt(k + 1)
    return table


@torch.no_grad()
def _split(gaussians: Gaussians, chosen: Tensor, min_opacity: float) -> None:
    """Make each chosen row share its look with its coming copies (once per occurrence)."""
    p = gaussians.parameters
    rows, counts = torch.unique(chosen, return_counts=True)
    opacity, scale = relocated(
        torch.sigmoid(p["opacities"][rows]), torch.exp(p["scales"][rows]), counts + 1
    )
    opacity = opacity.clamp(min_opacity, 1.0 - 1e-6)
    p["opacities"][rows] = torch.logit(opacity)
    p["scales"][rows] = torch.log(scale)
    gaussians.forget(rows)


def _draw(weights: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return torch.multinomial(weights, n, replacement=True, generator=generator)


@torch.no_grad()
def refine(
    gaussians: Gaussians, settings: McmcSettings, *, generator: torch.Generator
) -> tuple[int, int]:
    """Move dead Gaussians to live places and grow towards the cap.

    Args:
        gaussians: Changed in place; sky rows are left alone.
        settings: Cap and rates.
        generator: Source of the draws, on the Gaussians' device.

    Returns:
        How many were moved and how many added.
    """
    opacity = torch.sigmoid(gaussians.parameters["opacities"])
    dead = opacity <= settings.min_opacity
    weights = torch.where(dead, 0.0, opacity)
    weights[: gaussians.n_sky] = 0.0
    dead[: gaussians.n_sky] = False
    rows = torch.nonzero(dead)[:, 0]
    if not bool((weights > 0).any()):
        return 0, 0
    if len(rows):
        source = _draw(weights, len(rows), generator)
        _split(gaussians, source, settings.min_opacity)
        gaussians.overwrite(rows, source)
    now = len(gaussians) - gaussians.n_sky
    added = max(0, min(settings.cap, math.ceil(now * settings.growth)) - now)
    if added:
        weights = torch.sigmoid(gaussians.parameters["opacities"].detach()).clone()
        weights[: gaussians.n_sky] = 0.0
        source = _draw(weights, added, generator)
        _split(gaussians, source, settings.min_opacity)
        gaussians.append_copies(source)
    return len(rows), added


@torch.no_grad()
def shake(
    gaussians: Gaussians, *, strength: float, scene_scale_m: float, generator: torch.Generator
) -> None:
    """Add noise in the shape of each Gaussian, most to the transparent ones.

    Args:
        gaussians: Changed in place; sky rows are left alone.
        strength: Learning rate of positions (metres) times the settings' noise.
        scene_scale_m: Size of the scene; makes the noise scale with the scene.
        generator: Source of the noise, on the Gaussians' device.
    """
    p = gaussians.parameters
    first = gaussians.n_sky
    means = p["means"][first:]
    openness = torch.sigmoid(100.0 * (0.005 - torch.sigmoid(p["opacities"][first:])))
    rows = torch.nonzero(openness > 1e-6)[:, 0]  # the others would move by nothing
    draw = torch.randn(means.shape, generator=generator, device=means.device)[rows]
    rotation = _rotations(p["quats"][first:][rows])
    variance = torch.exp(2.0 * p["scales"][first:][rows])
    local = torch.bmm(draw[:, None, :], rotation)[:, 0] * variance
    step = torch.bmm(rotation, local[:, :, None])[:, :, 0]
    means[rows] += step * (openness[rows] * (strength / scene_scale_m**2))[:, None]


def _rotations(quats: Tensor) -> Tensor:
    """Rotation matrices of wxyz quaternions, shape (N, 3, 3)."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
