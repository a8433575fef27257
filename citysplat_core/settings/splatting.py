"""Settings of the Gaussians of a box."""

from pydantic import Field

from citysplat_core.settings.base import StepSettings


class SplatSettings(StepSettings):
    """How the Gaussians of a box are trained."""

    iterations: int = Field(2400, ge=10)
    """Training steps; 7,000 to 30,000 on a GPU (with ``width_px`` 1024, ``max_gaussians`` 1000000
    and ``sh_degree`` 3)."""
    width_px: int = Field(320, ge=64)
    """Photos are scaled to this width for training; 1,024 or more on a GPU."""
    max_gaussians: int = Field(25_000, ge=1000)
    """Most Gaussians of a box, sky not counted; memory and file size follow from it."""
    sh_degree: int = Field(2, ge=0, le=3)
    """Degree of the view-dependent colour."""
    holdout_every: int = Field(8, ge=2)
    """Every n-th home photo is held out and measures the quality."""
    min_images: int = Field(6, ge=3)
    """A box with fewer registered photos gets no splat."""
    antialiased: bool = True
    """Compensate the opacity of Gaussians smaller than a pixel."""
    seed: int = 0
    """Seed of every random draw."""
