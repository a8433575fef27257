import pytest
import torch

from citysplat_core.errors import SplatError
from citysplat_core.splatting.gsplat_rasterizer import GsplatRasterizer
from citysplat_core.splatting.numba_rasterizer import NumbaRasterizer

from .scenes import NAMES, camera, cloud, splats_of

HAS_CUDA = torch.cuda.is_available()


@pytest.mark.skipif(HAS_CUDA, reason="this machine has a CUDA device")
def test_without_a_cuda_device_it_refuses_before_it_touches_gsplat():
    with pytest.raises(SplatError, match="torch sees no CUDA device; expected a CUDA device"):
        GsplatRasterizer()


@pytest.mark.cuda
@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device and gsplat 1.5.3")
@pytest.mark.parametrize("antialiased", [False, True], ids=["classic", "antialiased"])
def test_the_cpu_and_gsplat_give_the_same_picture_and_gradients(antialiased):
    size = (131, 97)
    view, k = camera(*size)
    weight = torch.randn(*reversed(size), 5, generator=torch.Generator().manual_seed(5))
    results = []
    for rasterizer in (NumbaRasterizer(), GsplatRasterizer()):
        device = rasterizer.device
        parameters = cloud(2000, seed=11)
        leaves = [p.to(device).requires_grad_() for p in (*parameters, view)]
        out = rasterizer.render(
            splats_of(leaves[:5]),
            leaves[5],
            k.to(device),
            *size,
            background=torch.tensor([0.2, 0.7, 0.4], device=device),
            render_depth=True,
            antialiased=antialiased,
        )
        picture = torch.cat([out.rgb, out.alpha[..., None], out.depth[..., None]], -1)
        (picture * weight.to(device)).sum().backward()
        results.append((picture.detach().cpu(), [leaf.grad.cpu() for leaf in leaves]))
    (ours, g_ours), (theirs, g_theirs) = results
    # A pixel may flip at the 1/255 threshold; then it differs by at most that much colour.
    assert float((ours - theirs)[..., :4].abs().mean()) < 1e-5
    assert float((ours - theirs)[..., :4].abs().max()) < 2e-2
    for name, a, b in zip((*NAMES, "viewmat"), g_ours, g_theirs, strict=True):
        assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.9999, name
