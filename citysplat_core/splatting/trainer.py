"""Training of one box: the loop, its schedules and its checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from citysplat_core.splatting.exposure import Exposure
from citysplat_core.splatting.gaussians import Gaussians
from citysplat_core.splatting.losses import depth_loss, photo_loss, psnr_db
from citysplat_core.splatting.mcmc import McmcSettings, refine, shake
from citysplat_core.splatting.rasterizer import Rasterizer, RenderOut
from citysplat_core.splatting.recipe import Recipe
from citysplat_core.splatting.scene import BoxScene
from citysplat_core.splatting.seeds import first_gaussians
from citysplat_core.splatting.views import Shot, shot_of
from citysplat_core.storage import Progress, no_progress, published


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """What a user decides about a training run."""

    iterations: int
    """Training steps."""
    max_gaussians: int
    """Most Gaussians, sky not counted."""
    sh_degree: int
    """Highest degree of view-dependent colour, 0 to 3."""
    antialiased: bool
    """Whether the opacity of tiny Gaussians makes up for the blur."""
    seed: int
    """Seed of every draw."""


class Trainer:
    """Trains the Gaussians of one scene; the same inputs give the same result on a CPU.

    Args:
        scene: What to learn.
        settings: The user's choices.
        recipe: Everything else.
        rasterizer: Draws; decides the device.
    """

    def __init__(
        self, scene: BoxScene, *, settings: TrainSettings, recipe: Recipe, rasterizer: Rasterizer
    ) -> None:
        """Make the first Gaussians."""
        self.scene, self.settings, self.recipe = scene, settings, recipe
        self.step = 0
        self.history: list[dict[str, float]] = []
        self._rasterizer, self.device = rasterizer, rasterizer.device
        self._shots: dict[tuple[int, int], Shot] = {}
        self._recent: list[float] = []
        self._generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.gaussians = first_gaussians(
            scene,
            cap=settings.max_gaussians,
            sh_degree=settings.sh_degree,
            recipe=recipe,
            seed=settings.seed,
            device=self.device,
        )
        self.exposure = Exposure(
            [view.sequence_id for view in scene.train],
            rate=recipe.exposure_rate,
            device=self.device,
        )

    def train(self, *, checkpoint: Path | None = None, progress: Progress = no_progress) -> None:
        """Train to the last step, going on from the checkpoint if there is one.

        Args:
            checkpoint: File that is read first and replaced every so many steps.
            progress: Told the step, and the PSNR of the last photos (in training colours).
        """
        if checkpoint is not None and checkpoint.exists():
            self._load(checkpoint)
        total = self.settings.iterations
        while self.step < total:
            self._recent.append(self._one_step())
            self.step += 1
            if self.step % 50 == 0 or self.step == total:
                psnr = float(np.mean(self._recent))
                self._recent = []
                n = len(self.gaussians)
                self.history.append({"step": self.step, "psnr_db": psnr, "n_gaussians": n})
                progress(self.step, total, f"{psnr:.1f} dB, {n} Gaussians")
            last = self.step == total
            if checkpoint is not None and (last or self.step % self.recipe.checkpoint_every == 0):
                self._save(checkpoint)

    @property
    def sh_degree(self) -> int:
        """Degree in use at this step: one more after each sixth of the run."""
        return min(self.settings.sh_degree, 6 * self.step // self.settings.iterations)

    def render(self, shot: Shot, *, depth: bool = False) -> RenderOut:
        """Draw the scene from a photo's pose, in the scene's own colours."""
        width, height = shot.size
        return self._rasterizer.render(
            self.gaussians.splats(self.sh_degree),
            shot.viewmat,
            shot.intrinsics,
            width,
            height,
            render_depth=depth,
            antialiased=self.settings.antialiased,
            near=self.recipe.near_m,
        )

    def shot(self, index: int, shrink: int) -> Shot:
        """Give training photo ``index`` at a size, kept for the next time."""
        key = (index, shrink)
        if key not in self._shots:
            if self._shots and next(iter(self._shots))[1] != shrink:
                self._shots.clear()  # the pictures of the last size are not needed any more
            self._shots[key] = shot_of(self.scene.train[index], shrink=shrink, device=self.device)
        return self._shots[key]

    def _one_step(self) -> float:
        """Learn from one photo; give its PSNR before the step."""
        fraction = self.step / self.settings.iterations
        index = self._photo_at(self.step)
        shot = self.shot(index, self.recipe.shrink_at(fraction))
        rate = self.recipe.means_rate * self.scene.scale_m * self.recipe.means_rate_end**fraction
        self.gaussians.set_means_rate(rate)
        self.exposure.set_rate(0.1**fraction)
        use_depth = self.recipe.depth_weight > 0 and len(shot.depths_m) > 0
        out = self.render(shot, depth=use_depth)
        seen = self.exposure.apply(out.rgb, index)
        loss = self._loss(seen, out, shot, index)
        loss.backward()  # type: ignore[no-untyped-call]
        self._update(rate, fraction)
        return psnr_db(seen.detach(), shot.photo, mask=shot.mask)

    def _loss(self, seen: Tensor, out: RenderOut, shot: Shot, index: int) -> Tensor:
        recipe, p = self.recipe, self.gaussians.parameters
        first = self.gaussians.n_sky
        loss = photo_loss(seen, shot.photo, mask=shot.mask, ssim_weight=recipe.ssim_weight)
        loss = loss + recipe.opacity_pull * torch.sigmoid(p["opacities"][first:]).mean()
        size = torch.exp(p["scales"][first:]).mean() / self.scene.scale_m
        loss = loss + recipe.scale_pull * size
        loss = loss + recipe.exposure_pull * self.exposure.pull(index)
        if out.depth is not None:
            error = depth_loss(out.depth, out.alpha, shot.pixels, shot.depths_m)
            loss = loss + recipe.depth_weight * self.scene.scale_m * error
        return loss

    def _update(self, rate: float, fraction: float) -> None:
        """Step the optimisers, then move, grow and shake the Gaussians."""
        recipe, gaussians = self.recipe, self.gaussians
        gradient = gaussians.parameters["means"].grad
        if gradient is not None:
            gradient[: gaussians.n_sky] = 0.0  # the sky stays where it is
        for optimizer in (gaussians.optimizer, self.exposure.optimizer):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        settings = McmcSettings(cap=self.settings.max_gaussians, growth=recipe.growth)
        active = recipe.refine_from <= fraction < recipe.refine_until
        if active and self.step % recipe.refine_every == 0:
            refine(gaussians, settings, generator=self._generator)
        shake(
            gaussians,
            strength=rate * settings.noise,
            scene_scale_m=self.scene.scale_m,
            generator=self._generator,
        )

    def _photo_at(self, step: int) -> int:
        """Photo of a step: every epoch is a shuffle of its own, known without its predecessors."""
        n = len(self.scene.train)
        order = np.random.default_rng((self.settings.seed, step // n)).permutation(n)
        return int(order[step % n])

    def _save(self, path: Path) -> None:
        state = {
            "step": self.step,
            "history": self.history,
            "recent": self._recent,
            "gaussians": self.gaussians.state(),
            "exposure": self.exposure.state(),
            "generator": self._generator.get_state(),
        }
        with published(path) as stream:
            torch.save(state, stream)

    def _load(self, path: Path) -> None:
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        self.step = state["step"]
        self.history, self._recent = state["history"], state["recent"]
        rates = self.recipe.rates(self.scene.scale_m)
        self.gaussians = Gaussians.from_state(state["gaussians"], rates)
        self.exposure.load(state["exposure"])
        self._generator.set_state(state["generator"].cpu())
