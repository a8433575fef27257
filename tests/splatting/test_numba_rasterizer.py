import pytest
import torch
from torch import Tensor

from citysplat_core.splatting.numba_rasterizer import NumbaRasterizer
from citysplat_core.splatting.rasterizer import Rasterizer, choose_rasterizer

from .reference import TorchReference
from .scenes import NAMES, camera, cloud, splats_of


def render_and_pull(
    rasterizer: Rasterizer,
    parameters: list[Tensor],
    view: Tensor,
    k: Tensor,
    size: tuple[int, int],
    *,
    antialiased: bool,
) -> tuple[Tensor, list[Tensor]]:
    """The picture (rgb, alpha, depth) and gradients of a fixed random weighting of it."""
    leaves = [p.clone().requires_grad_() for p in (*parameters, view)]
    width, height = size
    out = rasterizer.render(
        splats_of(leaves[:5]),
        leaves[5],
        k,
        width,
        height,
        background=torch.tensor([0.2, 0.7, 0.4]),
        render_depth=True,
        antialiased=antialiased,
    )
    assert out.depth is not None
    picture = torch.cat([out.rgb, out.alpha[..., None], out.depth[..., None]], -1)
    weight = torch.randn(picture.shape, generator=torch.Generator().manual_seed(5))
    (picture * weight).sum().backward()
    return picture.detach().double(), [leaf.grad.double() for leaf in leaves]


@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
@pytest.mark.parametrize(("size", "n_coef"), [((96, 80), 16), ((51, 37), 9), ((33, 16), 1)])
def test_picture_and_gradients_are_those_of_the_float64_reference(size, n_coef, antialiased):
    parameters = cloud(400, seed=size[0], n_coef=n_coef)
    view, k = camera(*size)
    ours, g_ours = render_and_pull(
        NumbaRasterizer(), parameters, view, k, size, antialiased=antialiased
    )
    theirs, g_theirs = render_and_pull(
        TorchReference(), parameters, view, k, size, antialiased=antialiased
    )
    worst = (ours - theirs).abs().amax(dim=(0, 1))
    assert worst[:4].max() < 1e-3
    assert worst[4] < 1e-2  # depths are up to 15 m
    for name, a, b in zip((*NAMES, "viewmat"), g_ours, g_theirs, strict=True):
        cosine = torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)
        assert cosine > 0.9999, name
        assert (a - b).norm() < 2e-3 * b.norm(), name


def test_nothing_visible_gives_the_background_and_zero_gradients():
    parameters = cloud(20, seed=1)
    parameters[0][:, 2] = -5.0
    view, k = torch.eye(4), camera(40, 30)[1]
    picture, grads = render_and_pull(
        NumbaRasterizer(), parameters, view, k, (40, 30), antialiased=True
    )
    assert torch.allclose(picture[..., :3], torch.tensor([0.2, 0.7, 0.4]).double())
    assert all(float(g.abs().max()) == 0 for g in grads)


def test_no_gaussians_at_all_is_allowed():
    view, k = camera(20, 20)
    out = NumbaRasterizer().render(splats_of(cloud(0, seed=0)), view, k, 20, 20)
    assert float(out.rgb.abs().max()) == 0


def test_the_same_bits_come_for_any_number_of_threads():
    parameters = cloud(9000, seed=3, n_coef=4)
    view, k = camera(131, 97)
    one, g_one = render_and_pull(
        NumbaRasterizer(n_threads=1), parameters, view, k, (131, 97), antialiased=True
    )
    for n_threads in (2, 3):
        many, g_many = render_and_pull(
            NumbaRasterizer(n_threads=n_threads), parameters, view, k, (131, 97), antialiased=True
        )
        assert torch.equal(one, many)
        assert all(torch.equal(a, b) for a, b in zip(g_one, g_many, strict=True))


def test_the_near_plane_hides_what_is_closer():
    parameters = cloud(50, seed=2)
    view, k = camera(32, 32)
    out = NumbaRasterizer().render(splats_of(parameters), view, k, 32, 32, near=1e6)
    assert float(out.alpha.max()) == 0


def test_absgrad_is_at_least_the_gradient_of_the_centres():
    parameters = cloud(200, seed=4)
    view, k = camera(48, 48)
    leaves = [p.requires_grad_() for p in parameters]
    out = NumbaRasterizer().render(splats_of(leaves), view, k, 48, 48, absgrad=True)
    means2d = out.info["means2d"]
    means2d.retain_grad()
    (out.rgb * torch.randn(48, 48, 3, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert means2d.grad.shape == (1, 200, 2)
    assert (means2d.absgrad >= means2d.grad.abs() - 1e-4).all()
    assert (means2d.absgrad > means2d.grad.abs() * 1.01).any()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_machine_without_cuda_gets_the_cpu_rasterizer():
    assert isinstance(choose_rasterizer(n_threads=2), NumbaRasterizer)
