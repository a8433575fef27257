"""A naive dense rasterizer in float64 with torch's own gradients: slow, and easy to believe."""

from typing import Any

import torch
from torch import Tensor

from citysplat_core.splatting.rasterizer import RenderOut, Splats, over_background


def rotation(q: Tensor) -> Tensor:
    w, x, y, z = torch.nn.functional.normalize(q, dim=-1).unbind(-1)
    rows = (
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    )
    return torch.stack(rows, -1).reshape(-1, 3, 3)


def sh_basis(d: Tensor, n: int) -> Tensor:
    x, y, z = d.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    b = [0.28209479177387814 * torch.ones_like(x)]
    b += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    b += [
        1.0925484305920792 * x * y,
        -1.0925484305920792 * y * z,
        0.31539156525252005 * (2 * zz - xx - yy),
        -1.0925484305920792 * x * z,
        0.5462742152960396 * (xx - yy),
    ]
    b += [
        -0.5900435899266435 * y * (3 * xx - yy),
        2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * zz - xx - yy),
        0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
        -0.4570457994644658 * x * (4 * zz - xx - yy),
        1.445305721320277 * z * (xx - yy),
        -0.5900435899266435 * x * (xx - 3 * yy),
    ]
    return torch.stack(b[:n], -1)


class TorchReference:
    """Every pixel against every Gaussian, in float64."""

    device = torch.device("cpu")

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
        del absgrad
        means, quats, scales, opac, sh = (
            t.double()
            for t in (splats.means, splats.quats, splats.scales, splats.opacities, splats.sh)
        )
        view, k = viewmat.double(), intrinsics.double()
        cam = means @ view[:3, :3].T + view[:3, 3]
        seen = torch.nonzero((cam[:, 2] >= near) & (cam[:, 2] <= 1e10))[:, 0]
        seen = seen[torch.argsort(cam[seen, 2].detach(), stable=True)]
        cam, opac, sh, means = cam[seen], opac[seen], sh[seen], means[seen]
        m2d, cov = self._project(cam, quats[seen], scales[seen], view, k, (width, height))
        blurred = cov + 0.3 * torch.eye(2, dtype=torch.float64)
        det = torch.linalg.det(blurred)
        if antialiased:
            opac = opac * (torch.linalg.det(cov) / det).clamp_min(0).sqrt()
        centre = -view[:3, :3].T @ view[:3, 3]
        direction = torch.nn.functional.normalize(means - centre, dim=-1)
        colour = (torch.einsum("nk,nkc->nc", sh_basis(direction, sh.shape[1]), sh) + 0.5).clamp_min(
            0
        )
        inverse = torch.linalg.inv(blurred)
        ys, xs = torch.meshgrid(
            torch.arange(height, dtype=torch.float64) + 0.5,
            torch.arange(width, dtype=torch.float64) + 0.5,
            indexing="ij",
        )
        d = torch.stack([xs, ys], -1).reshape(-1, 1, 2) - m2d
        sigma = 0.5 * torch.einsum("pni,nij,pnj->pn", d, inverse, d)
        alpha = (opac * torch.exp(-sigma)).clamp_max(0.999)
        alpha = torch.where((alpha >= 1 / 255) & (opac >= 1 / 255), alpha, 0.0)
        after = torch.cumprod(1 - alpha, dim=1)
        alpha = torch.where(after > 1e-4, alpha, 0.0)
        before = torch.cumprod(torch.cat([torch.ones(len(d), 1).double(), 1 - alpha], 1), 1)
        weight = alpha * before[:, :-1]
        covered = (1 - before[:, -1]).reshape(height, width)
        rgb = (weight @ colour).reshape(height, width, 3)
        depth = (weight @ cam[:, 2]).reshape(height, width) if render_depth else None
        info: dict[str, Any] = {"means2d": m2d[None]}
        return RenderOut(
            rgb=over_background(rgb, covered, None if background is None else background.double()),
            alpha=covered,
            depth=depth,
            info=info,
        )

    @staticmethod
    def _project(
        cam: Tensor, quats: Tensor, scales: Tensor, view: Tensor, k: Tensor, size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        m = rotation(quats) * scales[:, None, :]
        cov3 = view[:3, :3] @ (m @ m.transpose(1, 2)) @ view[:3, :3].T
        z = cam[:, 2]
        rows, centres = [], []
        for axis in (0, 1):
            f, c, n = k[axis, axis], k[axis, 2], size[axis]
            margin = 0.15 * n / f
            tilt = z * (cam[:, axis] / z).clamp(-(c / f + margin), (n - c) / f + margin)
            row = [torch.zeros_like(z), torch.zeros_like(z), -f * tilt / z**2]
            row[axis] = f / z
            rows.append(torch.stack(row, -1))
            centres.append(f * cam[:, axis] / z + c)
        jac = torch.stack(rows, 1)
        return torch.stack(centres, -1), jac @ cov3 @ jac.transpose(1, 2)
