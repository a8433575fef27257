import numpy as np
import pytest
import torch

from citysplat_core.splatting.losses import (
    colour_corrected,
    depth_loss,
    photo_loss,
    psnr_db,
    ssim,
)


def naive_ssim(x, y):
    """The formula of Wang et al. 2004, window by window, in float64."""
    x, y = x.double(), y.double()
    offset = torch.arange(11).double() - 5
    line = torch.exp(-(offset**2) / (2 * 1.5**2))
    window = (line[:, None] * line[None, :])[..., None]
    window = window / window.sum()
    values = []
    for row in range(x.shape[0] - 10):
        for col in range(x.shape[1] - 10):
            a, b = x[row : row + 11, col : col + 11], y[row : row + 11, col : col + 11]
            ma, mb = (window * a).sum((0, 1)), (window * b).sum((0, 1))
            va, vb = (window * a * a).sum((0, 1)) - ma**2, (window * b * b).sum((0, 1)) - mb**2
            cov = (window * a * b).sum((0, 1)) - ma * mb
            top = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4)
            values.append(top / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    return torch.stack(values).mean()


@pytest.fixture
def pair():
    g = torch.Generator().manual_seed(0)
    x = torch.rand(17, 15, 3, generator=g)
    return x, (x + 0.2 * torch.rand(17, 15, 3, generator=g)).clamp(0, 1)


def test_ssim_and_its_gradient_are_those_of_the_formula(pair):
    x, y = pair
    ours, theirs = x.clone().requires_grad_(), x.clone().double().requires_grad_()
    value, expected = ssim(ours, y), naive_ssim(theirs, y)
    value.backward()
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), abs=1e-5)
    assert torch.allclose(
        ours.grad.double(), theirs.grad, atol=1e-6 + 1e-3 * theirs.grad.abs().max()
    )


def test_equal_pictures_have_no_loss(pair):
    x, _ = pair
    assert float(photo_loss(x, x)) == pytest.approx(0, abs=1e-6)
    assert psnr_db(x, x) == 100


def test_masked_pixels_change_neither_the_loss_nor_its_gradient(pair):
    x, y = pair
    mask = torch.ones(17, 15, dtype=torch.bool)
    mask[4:9, 3:8] = False
    spoiled = torch.where(mask[..., None], y, torch.zeros(()))
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    loss, loss_spoiled = photo_loss(one, y, mask=mask), photo_loss(two, spoiled, mask=mask)
    loss.backward()
    loss_spoiled.backward()
    assert loss.item() == pytest.approx(loss_spoiled.item())
    assert torch.equal(one.grad, two.grad)
    assert float(one.grad[~mask].abs().max()) == 0


def test_a_picture_smaller_than_the_window_is_compared_by_l1_alone():
    x, y = torch.zeros(8, 8, 3), torch.full((8, 8, 3), 0.5)
    assert float(photo_loss(x, y)) == pytest.approx(0.5)


def test_depth_is_compared_in_disparity_where_the_picture_is_covered():
    depth, alpha = torch.full((4, 4), 1.0), torch.full((4, 4), 0.5)  # 2 m behind half coverage
    alpha[3, 3] = 0.1  # too thin to say anything
    pixels = torch.tensor([[1.5, 1.5], [3.5, 3.5]])
    loss = depth_loss(depth, alpha + 1e-6, pixels, torch.tensor([4.0, 1.0]))
    assert float(loss) == pytest.approx((1 / 2 - 1 / 4) / 2, abs=1e-4)


def test_colour_correction_undoes_an_affine_map_and_nothing_else():
    rng = np.random.default_rng(0)
    photo = torch.from_numpy(rng.uniform(0.2, 0.8, (20, 30, 3))).float()
    tinted = photo @ torch.tensor([[0.8, 0.1, 0], [0, 0.9, 0], [0.05, 0, 0.7]]) + 0.05
    assert psnr_db(tinted, photo) < 30
    assert psnr_db(colour_corrected(tinted, photo), photo) > 60
    assert psnr_db(colour_corrected(torch.rand(20, 30, 3), photo), photo) < 20
