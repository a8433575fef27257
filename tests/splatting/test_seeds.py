import numpy as np
import torch

from citysplat_core.splatting.recipe import Recipe
from citysplat_core.splatting.scene import load_scene
from citysplat_core.splatting.seeds import first_gaussians

from .street import BOX, CENTRE, GROUND_UP_M


def load(street, **changes):
    scene = load_scene(
        BOX,
        sparse_model=street.sparse_model,
        alignment=changes.get("alignment", street.alignment),
        box_images=street.box_images,
        centre_enu_m=CENTRE,
        width_px=160,
        holdout_every=8,
        min_images=6,
    )
    assert not isinstance(scene, str)
    return scene


def seeds(scene, cap):
    return first_gaussians(
        scene, cap=cap, sh_degree=1, recipe=Recipe(n_sky=200), seed=0, device=torch.device("cpu")
    )


def test_lifted_pixels_lie_on_the_streets_surfaces(street):
    gaussians = seeds(load(street), 6000)
    means = gaussians.parameters["means"].detach().numpy()[gaussians.n_sky :]
    assert 2000 < len(means) <= 3000  # half of the cap, less pixels with no point nearby
    local = means + np.array([0, 0, 42 - GROUND_UP_M])
    on_ground, on_walls = np.abs(local[:, 2]) < 0.5, np.abs(np.abs(local[:, 1]) - 5) < 0.6
    on_end = np.abs(local[:, 0] - 25) < 2.5
    assert (on_ground | on_walls | on_end).mean() > 0.8


def test_the_sky_is_a_far_dome_in_the_colour_of_the_sky(street):
    gaussians = seeds(load(street), 1000)
    sky = gaussians.parameters["means"].detach()[:200]
    assert float(sky.norm(dim=1).min()) > 400
    assert float(sky.norm(dim=1).max()) < 2048  # what SPZ can hold
    colour = gaussians.parameters["sh0"].detach()[0, 0] * 0.2820947917738781 + 0.5
    assert torch.allclose(colour, torch.tensor([0.6, 0.75, 0.95]), atol=0.03)


def test_no_more_points_than_the_cap_are_taken(street):
    gaussians = seeds(load(street), 300)
    assert len(gaussians) == 500


def test_the_same_seed_gives_the_same_start(street):
    scene = load(street)
    one, two = seeds(scene, 2000), seeds(scene, 2000)
    assert all(torch.equal(one.parameters[k], two.parameters[k]) for k in one.parameters)


def test_held_out_photos_give_no_colour_and_no_seed(street):
    scene = load(street)
    before = seeds(scene, 2000).parameters["sh0"].detach().clone()
    for view in scene.held_out:
        view.photo[:] = 255
    assert torch.equal(before, seeds(scene, 2000).parameters["sh0"].detach())
