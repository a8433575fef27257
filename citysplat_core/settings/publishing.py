"""Settings of what leaves the city: its page, its copies, its next look for photos."""

from pydantic import Field

from citysplat_core.settings.base import StepSettings, machine


class TilesSettings(StepSettings):
    """How the finished city is published."""

    title: str = ""
    """Heading of the page; the city's name if empty."""
    attribution: str = ""
    """Credit line that the page always shows; from the photos' source if empty."""
    environment_beyond_m: float = Field(150.0, gt=0)
    """Gaussians farther than this from the box's square, or this far above or below its cameras,
    are its backdrop (sky): shown only while the box itself is entered, metres."""
    min_opacity: float = Field(1 / 255, gt=0, lt=1)
    """Gaussians that are more transparent are left out; 1/255 never shows in a picture."""
    sh_degree: int = Field(2, ge=0, le=3)
    """Highest degree of view-dependent colour that is published; each degree adds to the file."""


class BackupSettings(StepSettings):
    """Where artifacts are copied to; the keys come from the environment, never from a file."""

    endpoint_url: str = machine("")
    """S3 endpoint, for B2 https://s3.<region>.backblazeb2.com; empty: no backup."""
    bucket: str = machine("")
    """Bucket name."""
    prefix: str = machine("")
    """Prefix of every key; the city's name if empty, so that cities can share a bucket."""
    region: str = machine("us-east-1")
    """Region name, for B2 the part of the endpoint."""


class ScheduleSettings(StepSettings):
    """When new imagery is looked for."""

    refetch_cron: str = machine("0 3 * * 0")
    """Cron expression of the re-fetch schedule, UTC; the schedule is off until it is started."""
