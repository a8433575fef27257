"""CPU time of one splatting step: our numba kernels against a torch loop over tiles.

    python benchmarks/splatting.py [--gaussians 10000] [--width 320] [--height 240]

Both draw the same synthetic street canyon (ground, two walls, an end wall) with view-dependent
colour of degree 3 and carry an L1 loss back to all parameters. The peer is what one writes
without a kernel: torch projection, then every 16x16 tile as one dense product with autograd; it
uses our tile lists, so it is spared the slowest part of a torch implementation. Times are CPU
milliseconds of one thread (median), so load on the machine matters little.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from citysplat_core.splatting import RenderOut, Splats
from citysplat_core.splatting._bins import TILE, bin_gaussians
from citysplat_core.splatting._camera import pack_camera
from citysplat_core.splatting.numba_rasterizer import NumbaRasterizer, _Project

NAMES = ("means", "quats", "scales", "opacities", "sh")


def canyon(n: int) -> list[Tensor]:
    """Gaussians on the ground, two walls and an end wall of a street, in camera axes."""
    rng = np.random.default_rng(0)
    along, across, height = rng.uniform(1, 40, n), rng.uniform(-5, 5, n), rng.uniform(-8, 1.6, n)
    part = rng.choice(4, n, p=(0.35, 0.3, 0.3, 0.05))
    x = np.select([part == 1, part == 2], [-5.0, 5.0], across)
    y = np.where(part == 0, 1.6, height)
    z = np.where(part == 3, 40.0, along)
    return [
        torch.from_numpy(np.stack([x, y, z], 1)).float(),
        torch.from_numpy(rng.normal(size=(n, 4))).float(),
        torch.from_numpy(np.exp(rng.normal(-2.3, 0.5, (n, 3)) - 0.16 * np.log(n / 1e4))).float(),
        torch.from_numpy(rng.uniform(0.1, 0.95, n)).float(),
        torch.from_numpy(rng.normal(0, 0.2, (n, 16, 3))).float(),
    ]


def torch_tiles(
    splats: Splats, view: Tensor, intrinsics: Tensor, width: int, height: int
) -> Tensor:
    """Blend tile by tile in torch; projection and tile lists are ours."""
    camera = pack_camera(
        view.double().numpy(),
        intrinsics.double().numpy(),
        width,
        height,
        near=0.01,
        antialiased=False,
    )
    m2d, depth, conic, colour, opacity, radii, ext = _Project.apply(
        splats.means, splats.quats, splats.scales, splats.opacities, splats.sh, view, camera, 1
    )
    bins = bin_gaussians(
        radii.numpy(),
        ext.numpy(),
        m2d.detach().numpy(),
        depth.detach().numpy(),
        conic.detach().numpy(),
        opacity.detach().numpy(),
        width=width,
        height=height,
        n_threads=1,
    )
    tiles_x = -(-width // TILE)
    rows = []
    for ty in range(-(-height // TILE)):
        row = []
        for tx in range(tiles_x):
            tile = ty * tiles_x + tx
            ids = torch.from_numpy(bins.ids[bins.tile_start[tile] : bins.tile_start[tile + 1]])
            row.append(_one_tile(ids.long(), tx * TILE, ty * TILE, m2d, conic, colour, opacity))
        rows.append(torch.cat(row, 1))
    return torch.cat(rows, 0)[:height, :width]


def _one_tile(
    ids: Tensor, x0: int, y0: int, m2d: Tensor, conic: Tensor, colour: Tensor, opacity: Tensor
) -> Tensor:
    y, x = torch.meshgrid(
        torch.arange(TILE) + y0 + 0.5, torch.arange(TILE) + x0 + 0.5, indexing="ij"
    )
    d = m2d[ids] - torch.stack([x, y], -1).reshape(-1, 1, 2)
    q = conic[ids]
    sigma = 0.5 * (q[:, 0] * d[..., 0] ** 2 + q[:, 2] * d[..., 1] ** 2) + q[:, 1] * d.prod(-1)
    alpha = (opacity[ids] * torch.exp(-sigma)).clamp_max(0.999)
    alpha = torch.where(alpha >= 1 / 255, alpha, 0.0)
    after = torch.cumprod(1 - alpha, 1)
    before = torch.cat([torch.ones(TILE * TILE, 1), after[:, :-1]], 1)
    weight = torch.where(after > 1e-4, alpha * before, 0.0)
    return (weight @ colour[ids]).reshape(TILE, TILE, 3)


def timed(
    draw: Callable[[], Tensor], target: Tensor, leaves: list[Tensor], repeats: int
) -> tuple[float, float, Tensor]:
    """Median CPU milliseconds forward and backward, and the last picture."""
    forward, backward = [], []
    for _ in range(repeats + 1):  # the first one compiles
        for leaf in leaves:
            leaf.grad = None
        t0 = time.process_time()
        picture = draw()
        t1 = time.process_time()
        (picture - target).abs().mean().backward()
        forward.append(t1 - t0)
        backward.append(time.process_time() - t1)
    f, b = (statistics.median(times[1:]) * 1e3 for times in (forward, backward))
    return f, b, picture.detach()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gaussians", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    width, height = args.width, args.height
    leaves = [p.requires_grad_() for p in canyon(args.gaussians)]
    splats = Splats(**dict(zip(NAMES, leaves, strict=True)))
    view = torch.eye(4)
    intrinsics = torch.tensor(
        [[0.8 * width, 0, width / 2], [0, 0.8 * width, height / 2], [0, 0, 1]]
    )
    target = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(0))
    ours = NumbaRasterizer(n_threads=1)

    def draw_ours() -> Tensor:
        out: RenderOut = ours.render(splats, view, intrinsics, width, height)
        return out.rgb

    def draw_peer() -> Tensor:
        return torch_tiles(splats, view, intrinsics, width, height)

    f, b, picture = timed(draw_ours, target, leaves, args.repeats)
    pf, pb, peer = timed(draw_peer, target, leaves, max(1, args.repeats // 3))
    print(f"{args.gaussians} Gaussians, {width} x {height}, CPU ms of one thread")
    print(f"{'':24}{'forward':>10}{'backward':>10}{'total':>10}")
    print(f"{'ours (numba)':24}{f:10.1f}{b:10.1f}{f + b:10.1f}")
    print(f"{'torch, tile by tile':24}{pf:10.1f}{pb:10.1f}{pf + pb:10.1f}")
    print(f"{'ratio':24}{pf / f:10.1f}{pb / b:10.1f}{(pf + pb) / (f + b):10.1f}")
    print(f"largest difference of the two pictures: {float((picture - peer).abs().max()):.1e}")


if __name__ == "__main__":
    main()
