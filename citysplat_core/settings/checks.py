"""Thresholds of the asset checks: changing one remakes nothing, the next run judges anew."""

from pydantic import Field

from citysplat_core.settings.base import StepSettings


class CheckSettings(StepSettings):
    """What a finished model must show before it is believed."""

    min_extent_ratio: float = Field(0.6, gt=0, le=1)
    """Least extent of the registered photos, as solved, over their extent by GPS; more than the
    inverse fails too."""
    min_extent_m: float = Field(10.0, ge=0)
    """A model of a smaller extent fails where GPS says that the box is three times as large:
    metres, the size of a room."""
    max_gps_residual_p90_m: float = Field(12.0, gt=0)
    """Largest horizontal distance from GPS of nine photos of ten, metres."""
    max_gps_residual_up_m: float = Field(20.0, gt=0)
    """Largest median distance from measured altitudes, metres."""
    min_track_length: float = Field(2.2, ge=2)
    """Least mean number of photos that see a point: 2 is a model of pairs."""
    min_angle_deg: float = Field(2.0, gt=0, le=90)
    """Least median angle under which a point is seen, degrees."""
    max_flat_share: float = Field(0.5, ge=0, le=1)
    """Largest share of points that are seen under less than 2 degrees: their depth is a guess."""
    min_city_share: float = Field(0.5, ge=0, le=1)
    """Least share of the planned photos that stand in the aligned city."""
    min_rate_sequence: float = Field(0.4, ge=0, le=1)
    """A box warns where a smaller share of its pairs along sequences is verified."""
    min_rate_spatial: float = Field(0.15, ge=0, le=1)
    """The same of pairs that stand near each other."""
    min_rate_retrieval: float = Field(0.05, ge=0, le=1)
    """The same of pairs that look alike."""
    min_rate_expansion: float = Field(0.05, ge=0, le=1)
    """The same of expanded pairs."""
    min_rate_fringe: float = Field(0.01, ge=0, le=1)
    """A fringe warns where a smaller share of its pairs of any source is verified; at corners
    there is little to see of each other."""
    min_pairs_for_rate: int = Field(20, ge=1)
    """A source with fewer proposed pairs is not judged."""
    connected_size: int = Field(3, ge=2)
    """A photo is connected if at least this many photos hang together with it by verified pairs,
    itself counted."""
    warn_connected_share: float = Field(0.7, ge=0, le=1)
    """A box warns where a smaller share of its photos is connected."""
    fail_connected_share: float = Field(0.3, ge=0, le=1)
    """A box fails its check where a smaller share of its photos is connected."""
