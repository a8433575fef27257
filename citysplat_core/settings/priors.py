"""Settings of the position priors that a mapper is given."""

from pydantic import Field

from citysplat_core.settings.base import StepSettings


class PriorSettings(StepSettings):
    """What a position that a source gives is worth, before anything is solved."""

    sigma_gps_m: float = Field(4.0, gt=0)
    """Expected error of a photo's own GPS position along east or north, metres."""
    sigma_computed_m: float = Field(3.0, gt=0)
    """The same of a position that the source computed from many photos, metres."""
    sigma_up_m: float = Field(10.0, gt=0)
    """Expected error of a measured altitude, metres."""
    missing_up_sigma_m: float = Field(30.0, gt=0)
    """Expected error of an altitude that is taken over from other photos of its sequence, or else
    of the box, metres."""
    jump_m: float = Field(15.0, gt=0)
    """A position that leaves the median of its neighbours in the sequence by more than this, and by
    more than 4 times the sequence's own noise, is worth that distance only, metres."""
