"""Settings of where the city lies and how its area is cut."""

from typing import Literal

from pydantic import Field

from citysplat_core.settings.base import StepSettings


class FrameSettings(StepSettings):
    """The origin of the city frame, fixed once: changing it moves every model."""

    origin_lon: float = Field(ge=-180, le=180)
    """Longitude of the origin, degrees."""
    origin_lat: float = Field(gt=-90, lt=90)
    """Latitude of the origin, degrees."""
    origin_alt_m: float = 0.0
    """Height of the origin above the ellipsoid, metres."""


class BoxSettings(StepSettings):
    """How the area is cut into boxes."""

    min_zoom: int = Field(16, ge=14, le=22)
    """Coarsest box: web-mercator zoom; 16 is about 400 m wide at 48 degrees of latitude."""
    max_zoom: int = Field(19, ge=14, le=22)
    """Finest box; 19 is about 51 m wide at 48 degrees."""
    max_images: int = Field(1000, ge=10)
    """A box with more photos is cut into its four children, down to the finest zoom."""
    fringe_width_m: float = Field(30.0, gt=0, le=500)
    """Photos within this distance of a common border belong to the fringe of both boxes, metres."""
    position: Literal["computed", "gps"] = "computed"
    """Position used: the source's own solution where there is one, else GPS; or GPS always."""
