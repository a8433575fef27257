"""The trained Gaussians of a box: parameters, optimiser, growth, file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from citysplat_core.splatting._sh import C0
from citysplat_core.splatting.rasterizer import Splats

NAMES = ("means", "scales", "quats", "opacities", "sh0", "shN")


class Gaussians:
    """Parameters in the form that is trained: log scales, logit opacities.

    The first ``n_sky`` rows are the sky shell: they are coloured like the others, but never
    moved, relocated or copied.

    Attributes:
        parameters: means (N, 3) metres, scales (N, 3) log metres, quats (N, 4) wxyz,
            opacities (N,) logits, sh0 (N, 1, 3), shN (N, K - 1, 3).
        optimizer: One Adam with one group a parameter, in the order of `NAMES`.
        n_sky: Rows of the sky shell.
    """

    def __init__(
        self, parameters: dict[str, Tensor], *, n_sky: int, learning_rates: dict[str, float]
    ) -> None:
        """Take tensors as they are; copies are not made."""
        self.parameters = {name: parameters[name].detach().requires_grad_() for name in NAMES}
        self.n_sky = n_sky
        groups = [
            {"params": [self.parameters[name]], "lr": learning_rates[name], "name": name}
            for name in NAMES
        ]
        self.optimizer = torch.optim.Adam(groups, eps=1e-15, fused=True)

    def __len__(self) -> int:
        """Count the Gaussians, sky included."""
        return len(self.parameters["means"])

    def splats(self, sh_degree: int) -> Splats:
        """Give activated values with the first ``sh_degree`` bands, connected to the graph."""
        p = self.parameters
        extra = (sh_degree + 1) ** 2 - 1
        sh = torch.cat([p["sh0"], p["shN"][:, :extra]], 1) if extra else p["sh0"]
        return Splats(
            means=p["means"],
            quats=p["quats"],
            scales=torch.exp(p["scales"]),
            opacities=torch.sigmoid(p["opacities"]),
            sh=sh,
        )

    def set_means_rate(self, rate: float) -> None:
        """Set the learning rate of the positions."""
        self.optimizer.param_groups[0]["lr"] = rate

    @torch.no_grad()
    def overwrite(self, rows: Tensor, source: Tensor) -> None:
        """Copy rows ``source`` to ``rows``, and forget the optimiser's memory of ``rows``."""
        for name in NAMES:
            self.parameters[name][rows] = self.parameters[name][source]
            self._forget(name, rows)

    @torch.no_grad()
    def forget(self, rows: Tensor) -> None:
        """Clear the optimiser's memory of some rows."""
        for name in NAMES:
            self._forget(name, rows)

    def _forget(self, name: str, rows: Tensor) -> None:
        state = self.optimizer.state[self.parameters[name]]
        for key in ("exp_avg", "exp_avg_sq"):
            if key in state:
                state[key][rows] = 0.0

    @torch.no_grad()
    def append_copies(self, source: Tensor) -> None:
        """Append copies of the rows ``source``, with an empty optimiser memory."""
        for group, name in zip(self.optimizer.param_groups, NAMES, strict=True):
            old = self.parameters[name]
            new = torch.cat([old.detach(), old.detach()[source]]).requires_grad_()
            state = self.optimizer.state.pop(old, {})
            for key in ("exp_avg", "exp_avg_sq"):
                if key in state:
                    state[key] = torch.cat([state[key], torch.zeros_like(old[source])])
            self.optimizer.state[new] = state
            group["params"] = [new]
            self.parameters[name] = new

    def state(self) -> dict[str, Any]:
        """Give everything that training needs to go on from here."""
        return {
            "parameters": {name: p.detach() for name, p in self.parameters.items()},
            "optimizer": self.optimizer.state_dict(),
            "n_sky": self.n_sky,
        }

    @staticmethod
    def from_state(state: dict[str, Any], learning_rates: dict[str, float]) -> "Gaussians":
        """Rebuild from `state`; the device is that of the tensors."""
        made = Gaussians(state["parameters"], n_sky=state["n_sky"], learning_rates=learning_rates)
        made.optimizer.load_state_dict(state["optimizer"])
        return made


def colour_to_sh0(rgb: Tensor) -> Tensor:
    """Turn colours in 0 to 1, shape (N, 3), into the first coefficient, shape (N, 1, 3)."""
    return ((rgb - 0.5) / C0)[:, None, :]


@torch.no_grad()
def write_ply(gaussians: Gaussians, path: Path, *, keep: Tensor | None = None) -> int:
    """Write the 3DGS PLY layout: log scales, logit opacities, unit quaternions wxyz.

    Args:
        gaussians: What to write.
        path: File to write, ending in ``.ply``.
        keep: Rows to write, boolean of shape (N,); all if None.

    Returns:
        Number of Gaussians written.
    """
    import gsply

    p = {name: value.detach().cpu() for name, value in gaussians.parameters.items()}
    if keep is not None:
        p = {name: value[keep.cpu()] for name, value in p.items()}
    gsply.plywrite(
        path,
        p["means"].numpy(),
        scales=p["scales"].numpy(),
        quats=torch.nn.functional.normalize(p["quats"], dim=-1).numpy(),
        opacities=p["opacities"].numpy(),
        sh0=p["sh0"][:, 0].contiguous().numpy(),
        shN=p["shN"].contiguous().numpy() if p["shN"].shape[1] else None,
    )
    return len(p["means"])


def gradients_off(tensors: Iterable[Tensor]) -> None:
    """Drop gradients, so that the next backward pass starts from nothing."""
    for tensor in tensors:
        tensor.grad = None
