# ruff: noqa: PLR0913
"""Gaussian splatting on CUDA, through gsplat's public `rasterization`."""

import torch
from torch import Tensor

from citysplat_core.errors import SplatError
from citysplat_core.splatting.rasterizer import RenderOut, Splats, over_background


class GsplatRasterizer:
    """Draw on the first CUDA device.

    gsplat compiles its kernels at the first view (minutes, once per machine), so this class must
    not be made where there is no CUDA device: the failure there is long and misleading.

    Raises:
        SplatError: There is no CUDA device, or gsplat is not installed.
    """

    def __init__(self) -> None:
        """Check the device and the package."""
        if not torch.cuda.is_available():
            raise SplatError(
                "torch sees no CUDA device",
                expected="a CUDA device and driver",
                fix="Use NumbaRasterizer, or repair the driver.",
            )
        try:
            from gsplat import rasterization
        except ImportError as error:
            raise SplatError(
                "a CUDA device but no gsplat",
                expected="gsplat 1.5.3",
                fix="Run `pip install 'citysplat[cuda]'`.",
            ) from error
        self.device = torch.device("cuda")
        self._rasterization = rasterization

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
        """Draw one view as `Rasterizer.render` says."""
        degree = {1: 0, 4: 1, 9: 2, 16: 3}[splats.sh.shape[1]]
        picture, alpha, info = self._rasterization(
            means=splats.means,
            quats=splats.quats,
            scales=splats.scales,
            opacities=splats.opacities,
            colors=splats.sh,
            sh_degree=degree,
            viewmats=viewmat[None],
            Ks=intrinsics[None],
            width=width,
            height=height,
            near_plane=near,
            packed=False,
            absgrad=absgrad,
            render_mode="RGB+D" if render_depth else "RGB",
            rasterize_mode="antialiased" if antialiased else "classic",
        )
        return RenderOut(
            rgb=over_background(picture[0, ..., :3], alpha[0, ..., 0], background),
            alpha=alpha[0, ..., 0],
            depth=picture[0, ..., 3] if render_depth else None,
            info=info,
        )
