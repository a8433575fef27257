# ruff: noqa: PLR0913
"""What a rasterizer is, and which one this machine gets."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Splats:
    """Gaussians ready to be drawn: activated values, not the trained logits.

    Attributes:
        means: Centres in the world frame, metres, shape (N, 3).
        quats: Rotations wxyz, not necessarily of unit length, shape (N, 4).
        scales: Standard deviations along the axes, metres, shape (N, 3).
        opacities: 0 to 1, shape (N,).
        sh: Spherical-harmonic coefficients, shape (N, K, 3), K = 1, 4, 9 or 16.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    sh: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOut:
    """One drawn view.

    Attributes:
        rgb: Colours, not clamped above, shape (H, W, 3).
        alpha: Coverage, 0 to 1, shape (H, W).
        depth: Blended camera z (sum of weight times z, not divided by alpha), shape (H, W), or
            None if it was not asked for.
        info: The keys that gsplat's strategies read: ``means2d`` [1, N, 2] (a tensor of the
            graph), ``radii`` [1, N, 2], ``width``, ``height``, ``n_cameras``, ``gaussian_ids``.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor | None
    info: dict[str, Any] = field(default_factory=dict)


class Rasterizer(Protocol):
    """Draws Gaussians into one pinhole view, differentiably."""

    device: torch.device

    def render(
        self,
        splats: Splats,
        viewmat: Tensor,
        intrinsics: Tensor,
        width: int,
        height: int,
        *,
        background: Tensor | None = None,
        render_depth: bool = False,
        antialiased: bool = False,
        absgrad: bool = False,
        near: float = 0.01,
    ) -> RenderOut:
        """Draw one view; gradients reach every field of the splats and the view matrix.

        Args:
            splats: What to draw; on `device`, float32.
            viewmat: ``camera_from_world``, shape (4, 4).
            intrinsics: Pinhole matrix, pixels, pixel centres at +0.5, shape (3, 3).
            width: Image width, pixels.
            height: Image height, pixels.
            background: Colour behind everything, shape (3,) or (H, W, 3); black if None.
            render_depth: Whether the depth is wanted.
            antialiased: Whether opacity makes up for the 2-D blur of small Gaussians.
            absgrad: Whether ``means2d.absgrad`` is filled by the backward pass.
            near: Smallest depth that is drawn, metres.

        Returns:
            The picture.
        """
        ...


def over_background(rgb: Tensor, alpha: Tensor, background: Tensor | None) -> Tensor:
    """Put a picture that was blended over black in front of a background.

    Args:
        rgb: Colours over black, shape (H, W, 3).
        alpha: Coverage, shape (H, W).
        background: Colour, shape (3,) or (H, W, 3), or None for black.

    Returns:
        Colours, shape (H, W, 3); differentiable in all three.
    """
    return rgb if background is None else rgb + (1.0 - alpha)[..., None] * background


def choose_rasterizer(*, n_threads: int = 1) -> Rasterizer:
    """Give the fastest rasterizer of this machine: gsplat on a CUDA device, else the CPU's.

    Args:
        n_threads: Threads of the CPU rasterizer.

    Returns:
        The rasterizer; its ``device`` says where tensors must live.
    """
    if torch.cuda.is_available():
        from citysplat_core.splatting.gsplat_rasterizer import GsplatRasterizer

        return GsplatRasterizer()
    from citysplat_core.splatting.numba_rasterizer import NumbaRasterizer

    return NumbaRasterizer(n_threads=n_threads)
