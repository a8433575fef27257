"""Colour of the camera: an affine map a sequence, and a small correction a photo."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Exposure:
    """Maps the scene's colours to a photo's: ``rgb @ A[:, :3].T + A[:, 3]``.

    A is the identity at first, plus an offset a sequence and a small one a photo (pulled back to
    zero). The mean of A over the photos always is the identity, so that the scene keeps the
    photos' own colours. A held-out photo is judged with the mean A of its sequence's training
    photos, which no held-out pixel has touched.

    Args:
        sequences: Sequence of each training photo, in the order of the photos.
        rate: Learning rate of the sequences' matrices; a photo's correction learns at a tenth.
        device: Where the matrices live.
    """

    def __init__(self, sequences: Sequence[str], *, rate: float, device: torch.device) -> None:
        """Start from the identity."""
        self.names = sorted(set(sequences))
        self._of_photo = [self.names.index(name) for name in sequences]
        share = torch.bincount(torch.tensor(self._of_photo), minlength=len(self.names))
        self._share = (share / share.sum()).to(device)
        self._identity = torch.eye(3, 4, device=device)
        self._offset = torch.zeros(len(self.names), 3, 4, device=device, requires_grad=True)
        self._photo = torch.zeros(len(sequences), 3, 4, device=device, requires_grad=True)
        self.optimizer = torch.optim.Adam(
            [{"params": [self._offset], "lr": rate}, {"params": [self._photo], "lr": rate / 10}]
        )
        self._rates = (rate, rate / 10)

    def apply(self, rgb: Tensor, photo: int) -> Tensor:
        """Give the colours as the training photo's camera would have shown them."""
        own = self._offset[self._of_photo[photo]] + self._photo[photo]
        return _mapped(rgb, self._identity + own - self._mean())

    @torch.no_grad()
    def apply_held_out(self, rgb: Tensor, sequence: str) -> Tensor:
        """Give the colours as the sequence's camera shows them; identity if it is unknown."""
        if sequence not in self.names:
            return rgb
        return _mapped(rgb, self._of_sequence(self.names.index(sequence)))

    def _mean(self) -> Tensor:
        """Mean of both offsets over the photos, shape (3, 4)."""
        return torch.einsum("s,sij->ij", self._share, self._offset) + self._photo.mean(dim=0)

    def _of_sequence(self, index: int) -> Tensor:
        photos = [i for i, sequence in enumerate(self._of_photo) if sequence == index]
        return self._identity + self._offset[index] + self._photo[photos].mean(0) - self._mean()

    def pull(self, photo: int) -> Tensor:
        """Penalty that keeps a photo's correction small, so that the sequence explains most."""
        return (self._photo[photo] ** 2).sum()

    def set_rate(self, factor: float) -> None:
        """Scale the learning rates."""
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    @torch.no_grad()
    def sequence_matrices(self) -> dict[str, list[list[float]]]:
        """Give the mean matrix of every sequence's photos as nested lists, 3 rows of 4."""
        return {name: self._of_sequence(i).tolist() for i, name in enumerate(self.names)}

    def state(self) -> dict[str, Any]:
        """Give everything that training needs to go on from here."""
        return {
            "offset": self._offset.detach(),
            "photo": self._photo.detach(),
            "optimizer": self.optimizer.state_dict(),
        }

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Take over a `state`."""
        self._offset.copy_(state["offset"])
        self._photo.copy_(state["photo"])
        self.optimizer.load_state_dict(state["optimizer"])


def _mapped(rgb: Tensor, affine: Tensor) -> Tensor:
    return rgb @ affine[:, :3].T + affine[:, 3]
