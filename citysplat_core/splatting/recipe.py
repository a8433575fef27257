"""The constants of training that are not a user's business: one frozen record, all with units."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a box is trained; rates are per step, fractions are of all steps.

    The rates are two to four times those of gsplat's examples, because a box on a CPU has some
    hundred steps and not 30,000.

    Attributes:
        means_rate: Learning rate of positions, in units of the scene's scale.
        means_rate_end: What is left of it at the last step, as a factor.
        scales_rate: Learning rate of log scales.
        opacities_rate: Learning rate of logit opacities.
        quats_rate: Learning rate of quaternions.
        sh0_rate: Learning rate of the mean colour.
        shn_rate: Learning rate of the view-dependent colour.
        exposure_rate: Learning rate of the sequences' exposure; falls to a tenth.
        exposure_pull: Weight that keeps a single photo's exposure near its sequence's.
        ssim_weight: Share of structural similarity in the loss.
        depth_weight: Weight of the disparity error at SfM points, times the scene's scale.
        opacity_pull: Weight of the mean opacity (MCMC needs it).
        scale_pull: Weight of the mean standard deviation over the scene's scale (MCMC needs it).
        shrink: Pairs (fraction of the steps, divisor of the picture's sides).
        refine_from: Fraction of the steps before Gaussians are first moved.
        refine_until: Fraction of the steps after which their number and places stay.
        refine_every: Steps between two refinements.
        growth: Factor of their number at a refinement.
        start_share: Share of the cap that training starts with, where the photos allow.
        start_opacity: Opacity at the start.
        n_sky: Gaussians of the sky shell.
        near_m: Nothing closer to the camera is drawn, metres.
        checkpoint_every: Steps between two checkpoints.
    """

    means_rate: float = 3e-4
    means_rate_end: float = 0.01
    scales_rate: float = 1e-2
    opacities_rate: float = 5e-2
    quats_rate: float = 4e-3
    sh0_rate: float = 1e-2
    shn_rate: float = 5e-4
    exposure_rate: float = 1e-2
    exposure_pull: float = 1e-2
    ssim_weight: float = 0.2
    depth_weight: float = 1e-2
    opacity_pull: float = 2e-3
    scale_pull: float = 2e-3
    shrink: tuple[tuple[float, int], ...] = ((0.0, 4), (0.3, 2), (0.7, 1))
    refine_from: float = 0.08
    refine_until: float = 0.85
    refine_every: int = 50
    growth: float = 1.1
    start_share: float = 0.5
    start_opacity: float = 0.3
    n_sky: int = 1000
    near_m: float = 0.1
    checkpoint_every: int = 250

    def rates(self, scene_scale_m: float) -> dict[str, float]:
        """Give the learning rate of each parameter for a scene of some size, metres."""
        return {
            "means": self.means_rate * scene_scale_m,
            "scales": self.scales_rate,
            "quats": self.quats_rate,
            "opacities": self.opacities_rate,
            "sh0": self.sh0_rate,
            "shN": self.shn_rate,
        }

    def shrink_at(self, fraction: float) -> int:
        """Give the divisor of the picture's sides at a fraction of the steps."""
        return [divisor for start, divisor in self.shrink if start <= fraction][-1]
