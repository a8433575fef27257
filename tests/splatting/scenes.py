"""Small scenes for the kernel's tests."""

import torch
from torch import Tensor

from citysplat_core.splatting.rasterizer import Splats

NAMES = ("means", "quats", "scales", "opacities", "sh")


def cloud(n: int, *, seed: int, n_coef: int = 16) -> list[Tensor]:
    """Means, quats, scales, opacities, sh: some huge, some behind the camera, some off screen."""
    g = torch.Generator().manual_seed(seed)
    means = torch.randn(n, 3, generator=g) * torch.tensor([3.0, 2.0, 3.0]) + torch.tensor(
        [0, 0, 6.0]
    )
    scales = torch.exp(torch.randn(n, 3, generator=g) * 0.7 - 2.2)
    scales[: n // 30] *= 20
    return [
        means,
        torch.randn(n, 4, generator=g) * 1.7,
        scales,
        torch.rand(n, generator=g) * 0.98 + 0.01,
        torch.randn(n, n_coef, 3, generator=g) * 0.3,
    ]


def camera(width: int, height: int) -> tuple[Tensor, Tensor]:
    """A camera that is turned and moved a little, with different focal lengths."""
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -0.1, 0.2], [0.1, 0, -0.15], [-0.2, 0.15, 0]]))
    view = torch.eye(4)
    view[:3, :3] = turn
    view[:3, 3] = torch.tensor([0.3, -0.2, 0.4])
    k = torch.tensor(
        [[0.9 * width, 0, 0.47 * width], [0, 1.2 * height, 0.55 * height], [0, 0, 1.0]]
    )
    return view, k


def splats_of(parameters: list[Tensor]) -> Splats:
    return Splats(**dict(zip(NAMES, parameters, strict=True)))
