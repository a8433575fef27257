"""What a simulated town is like: its size, its photos and how wrong its sensors are."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TownSettings(BaseModel):
    """Everything that decides a simulated town; the same settings give the same town.

    The number of photos decides the extent: streets are added until driving them in both
    directions at about ``spacing_m`` uses up the photos. The origin of the city frame lies in the
    middle of the town (of towns with an odd number of streets: half a block from it). The default
    origin is a corner of zoom-14 map tiles, so every town lies in four tiles and four boxes at
    least (two boxes below 90 photos); the default block is as wide as a zoom-19 tile there, so each
    such box has a crossing in its middle.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    seed: int = Field(7, ge=0)
    """Seed of everything that is drawn by chance."""
    n_photos: int = Field(200, ge=4, le=200_000)
    """How many photos are taken."""
    spacing_m: float = Field(4.0, gt=0.5, le=30.0)
    """Wished distance between photos of a drive, metres; changed to fit ``n_photos``."""
    block_m: float = Field(52.0, ge=40.0, le=200.0)
    """Distance between the centre lines of parallel streets, metres."""
    n_streets_east: int = Field(0, ge=0, le=200)
    """How many driven streets lie side by side from west to east; 0 takes it from ``n_photos``."""
    n_streets_north: int = Field(0, ge=0, le=200)
    """How many driven streets lie side by side from south to north; 0: as ``n_photos`` asks."""
    photo_width_px: int = Field(640, ge=64, le=4096)
    """Longest side of a photo, pixels."""
    panorama_share: float = Field(0.0, ge=0, le=1)
    """Share of the forward drives that are taken with a 360-degree camera on the roof."""
    panorama_width_px: int = Field(2048, ge=128, le=8192, multiple_of=8)
    """Width of a panorama, pixels; it is half as high."""
    origin_lon: float = Field(8.54736328125, ge=-180, le=180)
    """Longitude of the town's centre, degrees (WGS84)."""
    origin_lat: float = Field(47.36859434521338, ge=-85, le=85)
    """Latitude of the town's centre, degrees (WGS84)."""
    origin_alt_m: float = Field(0.0, ge=-500, le=9000)
    """Height of the ground at the centre above the ellipsoid, metres."""
    turn_deg: float = Field(3.0, ge=-45, le=45)
    """Turn of the street grid, counter-clockwise seen from above, degrees."""
    slope_east: float = Field(0.0, ge=-0.1, le=0.1)
    """Rise of the ground towards the town's east, metres a metre."""
    slope_north: float = Field(0.0, ge=-0.1, le=0.1)
    """Rise of the ground towards the town's north, metres a metre."""
    lookalike_share: float = Field(0.12, ge=0, le=1)
    """Share of the houses that are exact copies of one of three twins."""
    sideways_share: float = Field(0.1, ge=0, le=0.6)
    """Share of the photos from cars whose camera looks left or right."""
    pedestrian_share: float = Field(0.08, ge=0, le=0.6)
    """Share of the photos taken by people on the pavement."""
    gps_noise_m: float = Field(1.5, ge=0, le=50)
    """Standard deviation of a photo's GPS error about its sequence's bias, metres on each axis."""
    gps_bias_m: float = Field(1.5, ge=0, le=50)
    """Standard deviation of a sequence's GPS bias, metres on each axis."""
    computed_noise_m: float = Field(0.35, ge=0, le=50)
    """Standard deviation of a computed position about truth plus the sequence's bias, metres."""
    computed_missing_share: float = Field(0.08, ge=0, le=1)
    """Share of the photos without computed fields."""
    compass_noise_deg: float = Field(5.0, ge=0, le=90)
    """Standard deviation of a photo's compass error about its sequence's, degrees."""
    compass_bias_deg: float = Field(7.0, ge=0, le=90)
    """Standard deviation of a sequence's compass error, degrees."""
    bad_compass_share: float = Field(0.1, ge=0, le=1)
    """Share of the sequences whose compass is grossly wrong."""
    missing_altitude_share: float = Field(0.2, ge=0, le=1)
    """Share of the sequences without GPS altitude."""
    dusk_share: float = Field(0.15, ge=0, le=1)
    """Share of the sequences taken at dusk."""
    overlay_share: float = Field(0.3, ge=0, le=1)
    """Share of the car sequences with the car's bonnet or a recorder's banner in every photo."""
    blurred_share: float = Field(0.03, ge=0, le=1)
    """Share of blurred photos."""
    parked_cars: float = Field(0.35, ge=0, le=1)
    """Share of the parking places that are taken."""
    moving_cars: float = Field(1.0, ge=0, le=10)
    """Moving cars on each street, on average."""

    @model_validator(mode="after")
    def _shares_leave_drives(self) -> Self:
        if self.sideways_share + self.pedestrian_share > 0.8:
            raise ValueError(
                f"sideways_share {self.sideways_share} and pedestrian_share "
                f"{self.pedestrian_share} leave less than a fifth of the photos to forward drives"
            )
        if (self.n_streets_east == 0) != (self.n_streets_north == 0):
            raise ValueError("give both n_streets_east and n_streets_north, or neither")
        return self
