# ruff: noqa: PLR0913, PLR0917
"""Gaussian splatting on the CPU: the numba kernels as two differentiable torch functions.

Split in two so that the projected centres are a tensor of the graph, whose gradient
densification strategies can read.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from citysplat_core.splatting._bins import TILE, Bins, bin_gaussians
from citysplat_core.splatting._camera import pack_camera, view_gradient
from citysplat_core.splatting._jit import spread
from citysplat_core.splatting._project import BLOCK, project, project_backward
from citysplat_core.splatting._raster import RECORD, raster, raster_backward, reduce_records
from citysplat_core.splatting.rasterizer import RenderOut, Splats, over_background

Context: TypeAlias = Any  # torch gives it no public type

_TILES_A_JOB = 24
_GAUSSIANS_A_JOB = 4 * BLOCK


def _array(tensor: Tensor) -> NDArray[np.float32]:
    """See a tensor as a contiguous float32 array, without a copy where possible."""
    array: NDArray[np.float32] = tensor.detach().to(torch.float32).contiguous().numpy()
    return array


class _Project(torch.autograd.Function):
    """World to image: centres, depths, conics, colours, opacities, radii, extents."""

    @staticmethod
    def forward(
        ctx: Context,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        sh: Tensor,
        viewmat: Tensor,
        camera: NDArray[np.float64],
        n_threads: int,
    ) -> tuple[Tensor, ...]:
        del viewmat  # its values are in the packed camera; it is here for its gradient
        inputs = [_array(t) for t in (means, quats, scales, opacities, sh)]
        n = len(inputs[0])
        floats = [torch.zeros(n, *shape) for shape in ((2,), (2,), (), (3,), (3,), ())]
        ext, m2d, depth, conic, colour, opacity = floats
        radii, clamped = torch.zeros(n, 2, dtype=torch.int32), np.zeros(n, np.uint8)
        outputs = [t.numpy() for t in (radii, *floats)]
        spread(project, n, _GAUSSIANS_A_JOB, n_threads, camera, *inputs, *outputs, clamped)
        ctx.mark_non_differentiable(radii, ext)
        ctx.set_materialize_grads(True)
        ctx.kept = (inputs, outputs[0], clamped, camera, n_threads)
        return m2d, depth, conic, colour, opacity, radii, ext

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, radii, clamped, camera, n_threads = ctx.kept
        given = [_array(g) for g in grads[:5]]
        made = [np.zeros(a.shape, np.float32) for a in inputs]
        blocks = np.zeros((len(radii) // BLOCK + 1, 15))
        spread(
            project_backward,
            len(radii),
            _GAUSSIANS_A_JOB,
            n_threads,
            camera,
            *inputs,
            radii,
            clamped,
            *given,
            *made,
            blocks,
        )
        v_view = None
        if ctx.needs_input_grad[5]:
            v_view = torch.from_numpy(view_gradient(camera, blocks)).to(torch.float32)
        return (*(torch.from_numpy(a) for a in made), v_view, None, None)


class _Raster(torch.autograd.Function):
    """Image-space Gaussians to a picture over black."""

    @staticmethod
    def forward(
        ctx: Context,
        m2d: Tensor,
        depth: Tensor,
        conic: Tensor,
        colour: Tensor,
        opacity: Tensor,
        radii: Tensor,
        ext: Tensor,
        sink: Tensor,
        size: Sequence[int],
        n_threads: int,
    ) -> tuple[Tensor, ...]:
        width, height = size
        m, z, q, c, o, e = (_array(t) for t in (m2d, depth, conic, colour, opacity, ext))
        bins = bin_gaussians(
            radii.numpy(), e, m, z, q, o, width=width, height=height, n_threads=n_threads
        )
        rgb, alpha, blended = (torch.empty(height, width, *s) for s in ((3,), (), ()))
        last = np.empty((height, width), np.int32)
        inputs = (bins.ids, bins.tile_start, m, e, z, q, c, o)
        spread(
            raster,
            len(bins.tile_start) - 1,
            _TILES_A_JOB,
            n_threads,
            width,
            height,
            *inputs,
            rgb.numpy(),
            alpha.numpy(),
            blended.numpy(),
            last,
        )
        ctx.set_materialize_grads(True)
        ctx.kept = (inputs, bins, alpha.numpy(), last, size, n_threads)
        ctx.sink = sink
        return rgb, alpha, blended

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, bins, alpha, last, (width, height), n_threads = ctx.kept
        records = np.empty((len(bins.ids), RECORD), np.float32)
        spread(
            raster_backward,
            len(bins.tile_start) - 1,
            _TILES_A_JOB,
            n_threads,
            width,
            height,
            *inputs,
            alpha,
            last,
            *(_array(g) for g in grads),
            records,
        )
        m2d, depth, conic, colour, opacity = _reduced(
            bins, records, len(inputs[2]), n_threads, ctx.sink
        )
        return (m2d, depth, conic, colour, opacity, None, None, None, None, None)


def _reduced(
    bins: Bins, records: NDArray[np.float32], n: int, n_threads: int, sink: Tensor
) -> tuple[Tensor, ...]:
    """Sum the records of each Gaussian; absolute position gradients go to ``sink``."""
    shapes = ((2,), (3,), (3,), (), ())
    m2d, conic, colour, depth, opacity = made = [torch.zeros(n, *shape) for shape in shapes]
    spread(
        reduce_records,
        len(bins.order),
        _GAUSSIANS_A_JOB,
        n_threads,
        bins.order,
        bins.slot_start,
        bins.slots,
        records,
        *(t.numpy() for t in made),
        sink.numpy(),
    )
    return m2d, depth, conic, colour, opacity


class NumbaRasterizer:
    """Draw on the CPU; same bits for every number of threads.

    Args:
        n_threads: Threads that share the work of one view.
    """

    def __init__(self, *, n_threads: int = 1) -> None:
        """Keep the number of threads; nothing is compiled before the first view."""
        self.device = torch.device("cpu")
        self._n_threads = n_threads

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
        camera = pack_camera(
            viewmat.detach().double().numpy(),
            intrinsics.detach().double().numpy(),
            width,
            height,
            near=near,
            antialiased=antialiased,
        )
        m2d, depth, conic, colour, opacity, radii, ext = _Project.apply(  # type: ignore[no-untyped-call]
            splats.means,
            splats.quats,
            splats.scales,
            splats.opacities,
            splats.sh,
            viewmat,
            camera,
            self._n_threads,
        )
        means2d = m2d[None]
        sink = torch.zeros_like(m2d)
        rgb, alpha, blended = _Raster.apply(  # type: ignore[no-untyped-call]
            means2d[0],
            depth,
            conic,
            colour,
            opacity,
            radii,
            ext,
            sink,
            (width, height),
            self._n_threads,
        )
        if absgrad:
            means2d.absgrad = sink[None]
        return RenderOut(
            rgb=over_background(rgb, alpha, background),
            alpha=alpha,
            depth=blended if render_depth else None,
            info={
                "means2d": means2d,
                "radii": radii[None],
                "width": width,
                "height": height,
                "n_cameras": 1,
                "gaussian_ids": None,
                "tile_size": TILE,
            },
        )
