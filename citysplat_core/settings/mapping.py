"""Settings of the sparse models: how a box is solved, how boxes are joined."""

from typing import Literal

from pydantic import Field

from citysplat_core.settings.base import StepSettings


class MappingSettings(StepSettings):
    """How the sparse model of a box is solved and judged."""

    strategy: Literal["auto", "sketch", "incremental", "geographic", "global", "hierarchical"] = (
        "auto"
    )
    """Mapper; ``auto`` tries and keeps what explains most photos and agrees with GPS."""
    min_model_size: int = Field(6, ge=3)
    """Fewest photos of a component."""
    max_residual_m: float = Field(10.0, gt=0)
    """A photo farther than this (or 3 medians) from its GPS position is taken out, metres."""
    max_median_residual_m: float = Field(6.0, gt=0)
    """A component with a larger median GPS residual is not accepted, metres."""
    max_median_residual_share: float = Field(0.15, ge=0, le=1)
    """Where GPS is poor, a median residual of up to this share of the component's own size is
    accepted too, with a warning as its reason, but never more than 4 times
    ``max_median_residual_m``."""
    max_scale_std: float = Field(0.25, gt=0)
    """A component whose scale GPS fixes worse than this (relative) is not accepted."""
    gps_sigma_m: float = Field(4.0, gt=0)
    """Expected horizontal GPS error, metres."""
    gps_shared_m: float = Field(2.0, ge=0)
    """The part of it that all positions of a sequence share, along east or north, metres. Models
    whose parts GPS wants farther apart than both errors explain are cut, and are not joined."""
    min_matches: int = Field(15, ge=8)
    """Pairs with fewer verified matches are not used for mapping."""
    min_shared_points: int = Field(10, ge=0)
    """A neighbour's photo stays in the model only if it sees this many points together with photos
    of the box; fewer say nothing of where the neighbour lies. 0: all stay."""
    min_refine_images: int = Field(20, ge=3)
    """A camera with known focal length is refined only if the box has this many of its photos."""
    enough_share: float = Field(0.9, ge=0, le=1)
    """``auto``: content when this share of the box's connected photos is explained; else tries
    the next."""
    max_runtime_s: int = Field(3600, ge=10)
    """Longest time for one mapper run; what is solved by then is kept, seconds."""
    max_memory_mb: int = Field(0, ge=0)
    """A mapper run is stopped above this, and what is solved by then is kept, MiB; 0: no limit."""
    snapshot_every: int = Field(50, ge=5)
    """Registered photos between two snapshots, from which a killed run goes on."""
    seed: int = 0
    """Seed of every random draw."""


class AlignSettings(StepSettings):
    """How the boxes are joined."""

    seam_sigma_m: float = Field(0.3, gt=0)
    """Expected disagreement of a photo in two models, metres."""
    seam_sigma_deg: float = Field(1.0, gt=0)
    """Expected disagreement of its direction of view, degrees; the ends of a model are bent."""
    gps_sigma_m: float = Field(3.0, gt=0)
    """Expected horizontal GPS error, metres."""
    gps_sigma_up_m: float = Field(9.0, gt=0)
    """Expected error of GPS heights, metres."""
    ground_sigma_m: float = Field(1.5, gt=0)
    """Expected difference in height of two cameras that stand beside each other, metres."""
    up_sigma_deg: float = Field(2.0, gt=0)
    """Expected tilt of a georegistered component, degrees."""
    gps_shared_m: float = Field(2.0, gt=0)
    """The part of it that all positions of a sequence share, along east or north, metres."""
    gps_shared_up_m: float = Field(4.0, gt=0)
    """The same of its heights, metres."""
    scale_sigma: float = Field(0.1, gt=0)
    """Expected relative error of a component's scale; what keeps the seams from shrinking it."""
    min_shared: int = Field(2, ge=1)
    """Two components are tied when they share at least this many photos."""
    adjust: bool = True
    """Adjust cameras and points of every box together with its fringes, after all are aligned."""
    adjust_reach_m: float = Field(60.0, ge=0)
    """Photos of neighbours at most so far from a box's own are adjusted with them, metres."""
    adjust_sigma_m: float = Field(0.95, gt=0)
    """How far the adjustment may move a camera along each axis, one standard deviation, metres."""
    max_gps_per_component: int = Field(400, ge=3)
    """So many GPS positions of a component take part, drawn at random."""
    seed: int = 0
    """Seed of every random draw."""
