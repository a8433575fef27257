"""What training minimises: L1 and structural similarity, with masks, and depth at SfM points."""

import math
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WINDOW = 11
_SIGMA, _C1, _C2 = 1.5, 0.01**2, 0.03**2
_EDGE = WINDOW // 2

Context: TypeAlias = Any  # torch gives it no public type


def _blur_cpu(image: NDArray[np.float32]) -> NDArray[np.float32]:
    size = (WINDOW, WINDOW)
    blurred = cv2.GaussianBlur(image, size, _SIGMA, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(blurred, np.float32)


def _blur(image: Tensor) -> Tensor:
    """Blur (H, W, 3) with the window; zeros beyond the border."""
    if image.device.type == "cpu":
        return torch.from_numpy(_blur_cpu(image.contiguous().numpy()))
    x = torch.arange(WINDOW, device=image.device, dtype=image.dtype) - _EDGE
    line = torch.exp(-(x**2) / (2 * _SIGMA**2))
    line = line / line.sum()
    planes = image.permute(2, 0, 1)[:, None]
    planes = torch.nn.functional.conv2d(planes, line.view(1, 1, -1, 1), padding=(_EDGE, 0))
    planes = torch.nn.functional.conv2d(planes, line.view(1, 1, 1, -1), padding=(0, _EDGE))
    return planes[:, 0].permute(1, 2, 0)


def _ssim_parts(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """Means, numerators, denominators and, last, the SSIM of every pixel, shape (H, W, 3)."""
    mx, my = _blur(x), _blur(y)
    xx, yy, xy = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    a1, a2 = 2 * mx * my + _C1, 2 * xy + _C2
    b1, b2 = mx * mx + my * my + _C1, xx + yy + _C2
    return mx, my, a1, a2, b1, b2, a1 * a2 / (b1 * b2)


class _Ssim(torch.autograd.Function):
    """Mean SSIM over the region whose window lies inside the picture; gradient to x only."""

    @staticmethod
    def forward(ctx: Context, x: Tensor, y: Tensor) -> Tensor:
        x, y = x.detach(), y.detach()
        parts = _ssim_parts(x, y)
        ctx.save_for_backward(x, y, *parts)
        each = parts[-1]
        return each[_EDGE:-_EDGE, _EDGE:-_EDGE].mean()

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, y, mx, my, a1, a2, b1, b2, each = ctx.saved_tensors
        d = torch.zeros_like(each)
        inner = d[_EDGE:-_EDGE, _EDGE:-_EDGE]
        inner.fill_(float(grads[0]) / inner.numel())
        d_xy = d * 2 * a1 / (b1 * b2)
        d_xx = -d * each / b2
        d_mx = d * (2 * my * a2 / (b1 * b2) - 2 * mx * each / b1) - d_xx * 2 * mx - d_xy * my
        return _blur(d_mx) + 2 * x * _blur(d_xx) + y * _blur(d_xy), None


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of two pictures (11x11 window, sigma 1.5), differentiable in ``x``.

    Args:
        x: Picture, 0 to 1, shape (H, W, 3), both sides larger than 11.
        y: The other picture; gets no gradient.

    Returns:
        The mean over pixels whose whole window lies inside, -1 to 1.
    """
    value: Tensor = _Ssim.apply(x, y)  # type: ignore[no-untyped-call]
    return value


def photo_loss(
    rendered: Tensor, photo: Tensor, *, mask: Tensor | None = None, ssim_weight: float = 0.2
) -> Tensor:
    """Compare a rendering with a photo: ``(1 - w) L1 + w (1 - SSIM)``.

    Args:
        rendered: Rendering, shape (H, W, 3).
        photo: Photo, 0 to 1, shape (H, W, 3).
        mask: True where the photo may be believed, shape (H, W). Masked pixels leave the L1
            mean, and are black on *both* sides for SSIM: black on one side would be an error.
        ssim_weight: w, 0 to 1.

    Returns:
        The loss, a scalar.
    """
    if mask is None:
        l1 = (rendered - photo).abs().mean()
    else:
        kept = mask[..., None].to(rendered.dtype)
        l1 = ((rendered - photo).abs() * kept).sum() / (3 * kept.sum()).clamp_min(1)
        rendered, photo = rendered * kept, photo * kept
    if ssim_weight == 0.0 or min(photo.shape[:2]) <= WINDOW:
        return l1
    return (1 - ssim_weight) * l1 + ssim_weight * (1 - ssim(rendered, photo))


def depth_loss(depth: Tensor, alpha: Tensor, pixels: Tensor, expected_m: Tensor) -> Tensor:
    """Compare rendered with reconstructed depth, in disparity.

    Args:
        depth: Blended depth (not divided by alpha), shape (H, W).
        alpha: Coverage, shape (H, W).
        pixels: Positions of SfM points, x and y in pixels inside the picture, shape (P, 2).
        expected_m: Their camera z, metres, shape (P,).

    Returns:
        Mean absolute difference of the disparities, 1/m.
    """
    x, y = pixels[:, 0].long(), pixels[:, 1].long()
    covered = alpha[y, x]
    mean_depth = depth[y, x] / covered.clamp_min(1e-3)
    error = (1.0 / mean_depth.clamp_min(1e-2) - 1.0 / expected_m).abs()
    mean: Tensor = (error * (covered.detach() > 0.5)).mean()
    return mean


def psnr_db(x: Tensor, y: Tensor, *, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio of two pictures in 0 to 1, decibels; at most 100.

    Args:
        x: Picture, shape (H, W, 3).
        y: The other.
        mask: True where they are compared, shape (H, W); None for everywhere.
    """
    error = (x.clamp(0, 1) - y) ** 2
    mse = float((error if mask is None else error[mask]).mean())
    return min(100.0, -10.0 * math.log10(max(mse, 1e-10)))


@torch.no_grad()
def measured_ssim(x: Tensor, y: Tensor, *, mask: Tensor | None = None) -> float:
    """Structural similarity for reports: of the pixels that count, and of no others.

    Args:
        x: Picture, 0 to 1, shape (H, W, 3), both sides larger than 11.
        y: The other.
        mask: True where they are compared, shape (H, W). The rest is black on both sides and
            left out of the mean; black against black would count as perfect.
    """
    if mask is None:
        return float(ssim(x, y))
    kept = mask[..., None].to(x.dtype)
    each = _ssim_parts(x * kept, y * kept)[-1].mean(dim=2)[_EDGE:-_EDGE, _EDGE:-_EDGE]
    inner = mask[_EDGE:-_EDGE, _EDGE:-_EDGE]
    return float(each[inner].mean() if bool(inner.any()) else each.mean())


def colour_corrected(x: Tensor, y: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Give ``x`` after the affine colour map (3x4, least squares) that best makes it ``y``.

    The map is fitted to the pixels of ``mask`` (H, W) if there is one.
    """
    flat = torch.cat([x.reshape(-1, 3), torch.ones(x[..., 0].numel(), 1, device=x.device)], 1)
    rows = slice(None) if mask is None else mask.reshape(-1)
    solution = torch.linalg.lstsq(flat[rows].double(), y.reshape(-1, 3)[rows].double()).solution
    mapped: Tensor = (flat.double() @ solution).to(x.dtype).reshape(x.shape).clamp(0, 1)
    return mapped
