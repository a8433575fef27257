import math

import pytest
import torch

from citysplat_core.splatting.gaussians import Gaussians
from citysplat_core.splatting.mcmc import McmcSettings, refine, relocated, shake
from citysplat_core.splatting.recipe import Recipe

N_SKY = 5


def make(n: int, *, dead: int = 0) -> Gaussians:
    g = torch.Generator().manual_seed(0)
    opacities = torch.full((n + N_SKY,), 0.6)
    opacities[N_SKY : N_SKY + dead] = 0.001
    opacities[:2] = 0.001  # transparent sky is still sky
    parameters = {
        "means": torch.randn(n + N_SKY, 3, generator=g),
        "scales": torch.full((n + N_SKY, 3), -2.0),
        "quats": torch.randn(n + N_SKY, 4, generator=g),
        "opacities": torch.logit(opacities),
        "sh0": torch.randn(n + N_SKY, 1, 3, generator=g),
        "shN": torch.zeros(n + N_SKY, 3, 3),
    }
    made = Gaussians(parameters, n_sky=N_SKY, learning_rates=Recipe().rates(1.0))
    sum(p.sum() for p in made.parameters.values()).backward()
    made.optimizer.step()  # so that there is optimiser memory
    made.optimizer.zero_grad()
    return made


@pytest.mark.parametrize("n", [1, 2, 3, 7, 51])
def test_coincident_copies_blend_to_the_old_opacity_and_keep_the_integral(n):
    old, scale = torch.tensor([0.05, 0.4, 0.95]), torch.full((3, 3), 0.2)
    new, new_scale = relocated(old, scale, torch.full((3,), n))
    assert torch.allclose(1 - (1 - new) ** n, old, atol=1e-5)
    # The blend of n Gaussians of opacity o_new along a line has the integral of the old one.
    x = torch.linspace(-12, 12, 40001, dtype=torch.float64)
    for i in range(3):
        sigma = float(new_scale[i, 0])
        alpha = float(new[i]) * torch.exp(-(x**2) / (2 * sigma**2))
        blended = torch.trapezoid(1 - (1 - alpha) ** n, x)
        assert float(blended) == pytest.approx(
            float(old[i]) * 0.2 * math.sqrt(2 * math.pi), rel=1e-4
        )


def test_more_than_51_copies_count_as_51():
    args = torch.tensor([0.5]), torch.ones(1, 3)
    assert torch.equal(
        relocated(*args, torch.tensor([51]))[0], relocated(*args, torch.tensor([80]))[0]
    )


def test_dead_gaussians_move_to_live_ones_and_the_sky_stays():
    gaussians = make(100, dead=30)
    before = {name: p.detach().clone() for name, p in gaussians.parameters.items()}
    moved, added = refine(
        gaussians, McmcSettings(cap=100), generator=torch.Generator().manual_seed(0)
    )
    after = gaussians.parameters
    assert (moved, added, len(gaussians)) == (30, 0, 105)
    assert all(torch.equal(before[name][:N_SKY], after[name][:N_SKY]) for name in before)
    alive = {tuple(row.tolist()) for row in before["means"][N_SKY + 30 :]}
    assert all(tuple(row.tolist()) in alive for row in after["means"][N_SKY : N_SKY + 30])
    memory = gaussians.optimizer.state[after["means"]]["exp_avg"]
    assert float(memory[N_SKY : N_SKY + 30].abs().max()) == 0


def test_the_number_grows_by_the_rate_and_stops_at_the_cap():
    gaussians = make(100)
    generator = torch.Generator().manual_seed(0)
    settings = McmcSettings(cap=130, growth=1.2)
    counts = [refine(gaussians, settings, generator=generator)[1] for _ in range(4)]
    assert counts == [20, 10, 0, 0]
    assert len(gaussians) == 130 + N_SKY
    memory = gaussians.optimizer.state[gaussians.parameters["scales"]]["exp_avg"]
    assert memory.shape == gaussians.parameters["scales"].shape
    sum(p.sum() for p in gaussians.parameters.values()).backward()
    gaussians.optimizer.step()  # the optimiser knows the new tensors


def test_when_everything_is_dead_nothing_moves():
    gaussians = make(10, dead=10)
    generator = torch.Generator().manual_seed(0)
    assert refine(gaussians, McmcSettings(cap=50), generator=generator) == (0, 0)


def test_noise_moves_transparent_gaussians_along_their_shape_and_leaves_opaque_ones():
    gaussians = make(40, dead=20)
    with torch.no_grad():
        gaussians.parameters["scales"][:, 2] = -12.0  # flat: no way to move along the third axis
        gaussians.parameters["quats"][:] = torch.tensor([1.0, 0, 0, 0])
    before = gaussians.parameters["means"].detach().clone()
    shake(gaussians, strength=1.0, scene_scale_m=1.0, generator=torch.Generator().manual_seed(0))
    step = (gaussians.parameters["means"].detach() - before).abs()
    assert float(step[:N_SKY].max()) == 0
    assert float(step[N_SKY + 20 :].max()) == 0
    assert float(step[N_SKY : N_SKY + 20, :2].min()) > 0
    assert float(step[:, 2].max()) < 1e-6
