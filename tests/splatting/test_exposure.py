import pytest
import torch

from citysplat_core.splatting.exposure import Exposure

CPU = torch.device("cpu")


def test_it_starts_as_the_identity():
    rgb = torch.rand(4, 5, 3)
    exposure = Exposure(["a", "b"], rate=0.1, device=CPU)
    assert torch.allclose(exposure.apply(rgb, 0), rgb)
    assert torch.allclose(exposure.apply_held_out(rgb, "a"), rgb)
    assert torch.equal(exposure.apply_held_out(rgb, "never seen"), rgb)


def learned(sequences, brightness):
    exposure = Exposure(sequences, rate=0.02, device=CPU)
    rgb = torch.rand(200, 1, 3, generator=torch.Generator().manual_seed(0))
    for step in range(600):
        photo = step % len(sequences)
        error = (exposure.apply(rgb, photo) - rgb * brightness[photo]).abs().mean()
        (error + 0.01 * exposure.pull(photo)).backward()
        exposure.optimizer.step()
        exposure.optimizer.zero_grad()
    return exposure


def test_sequences_learn_their_brightness_and_their_mean_stays_the_identity():
    exposure = learned(["day", "day", "dusk", "dusk"], [1.2, 1.2, 0.8, 0.8])
    matrices = exposure.sequence_matrices()
    assert matrices["day"][0][0] == pytest.approx(1.2, abs=0.05)
    assert matrices["dusk"][1][1] == pytest.approx(0.8, abs=0.05)
    mean = (torch.tensor(matrices["day"]) + torch.tensor(matrices["dusk"])) / 2
    assert torch.allclose(mean, torch.eye(3, 4), atol=1e-6)


def test_one_sequence_alone_keeps_the_photos_own_colours():
    exposure = learned(["a", "a"], [0.7, 0.7])
    assert torch.allclose(torch.tensor(exposure.sequence_matrices()["a"]), torch.eye(3, 4))


def test_its_state_comes_back():
    first = learned(["a", "b"], [1.1, 0.9])
    second = Exposure(["a", "b"], rate=0.02, device=CPU)
    second.load(first.state())
    assert second.sequence_matrices() == first.sequence_matrices()
