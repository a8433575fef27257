"""When new photos join a finished model, and when the box is solved again instead."""

from pydantic import Field

from citysplat_core.settings.base import StepSettings


class UpdateSettings(StepSettings):
    """When a finished model is updated: changing this remakes nothing, the next update follows it.

    Everything is counted and measured against the box as it was when it was last solved.
    """

    enabled: bool = True
    """Update finished models; otherwise a box with other photos is always solved again."""
    max_new_share: float = Field(0.25, ge=0)
    """Most photos that have been added since the box was solved, over those that it had then."""
    max_lost_share: float = Field(0.15, ge=0, le=1)
    """Most registered photos that have gone, changed or fallen out since the box was solved, over
    those that it had then."""
    max_changed_pairs_share: float = Field(0.5, ge=0, le=1)
    """Most verified pairs between photos that stay that have appeared or vanished since the box was
    solved, over all of then and now: more says that matching works otherwise now."""
    min_joined_share: float = Field(0.7, ge=0, le=1)
    """Of the new photos with verified pairs, the share that is registered must be at least so large
    a part of the share of the old ones."""
    max_residual_growth: float = Field(1.25, ge=1)
    """The pixel error, and the old photos' median and 90 % distances from GPS, may become so many
    times what they were when the box was solved."""
    max_drift_m: float = Field(0.3, gt=0)
    """So far may one old photo of twenty have moved within its component since the box was solved,
    metres; moves of a whole component do not count."""
