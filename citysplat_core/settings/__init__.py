"""Everything a user can set: ``city.toml`` as one frozen model a step.

A field marked as *machine* (threads, rates, addresses) changes how fast a result comes and not the
result: it is left out of fingerprints.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from citysplat_core.errors import ConfigError
from citysplat_core.geography import Area, CityFrame
from citysplat_core.settings.base import StepSettings, machine
from citysplat_core.settings.checks import CheckSettings
from citysplat_core.settings.features import FeatureSettings
from citysplat_core.settings.imagery import (
    MaskSettings,
    PanoramaSettings,
    PhotoSettings,
    SourceSettings,
)
from citysplat_core.settings.priors import PriorSettings
from citysplat_core.settings.weights import ModelSettings, WeightSettings

__all__ = [
    "AlignSettings",
    "BackupSettings",
    "BoxSettings",
    "CheckSettings",
    "City",
    "CitySettings",
    "FeatureSettings",
    "FrameSettings",
    "MappingSettings",
    "MaskSettings",
    "MatchingSettings",
    "ModelSettings",
    "PanoramaSettings",
    "PhotoSettings",
    "PriorSettings",
    "ScheduleSettings",
    "SourceSettings",
    "SplatSettings",
    "TilesSettings",
    "WeightSettings",
    "load_city",
]


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


class MatchingSettings(StepSettings):
    """Which pairs are tried and which are kept."""

    radius_m: float = Field(40.0, gt=0)
    """Largest distance of a spatial or fringe pair, metres."""
    max_neighbours: int = Field(24, ge=1)
    """Most spatial neighbours a photo asks for."""
    max_turn_deg: float = Field(110.0, gt=0, le=180)
    """Largest difference of two believed headings of a spatial or fringe pair, degrees."""
    min_overlap: float = Field(0.005, ge=0, le=1)
    """Least share of surface that both photos should see, as predicted from positions, headings and
    angles of view; 0 asks no view cone."""
    stationary_m: float = Field(0.3, ge=0)
    """Photos of one creator that look one way are no pair if they stand closer than this, metres;
    nor are photos of a camera that stands (neighbours of a sequence excepted). 0 asks neither."""
    max_time_gap_days: float | None = Field(None, gt=0)
    """Longest time between the captures of a spatial, fringe or retrieved pair; null asks none."""
    max_pairs_per_photo: float = Field(8.5, gt=0)
    """Budget: so many pairs times the number of photos are tried at first, the most useful ones."""
    exhaustive_fringe_pairs: int = Field(400, ge=0)
    """A fringe with at most this many pairs of two sides is compared exhaustively."""
    retrieval: Literal["none", "vlad"] = "none"
    """Global descriptors that find look-alike photos; ``vlad`` sums up the SIFT features and needs
    no weights. Its pairs come on top of the budget; where positions and headings are good they add
    little."""
    retrieval_k: int = Field(3, ge=1)
    """Look-alikes that a photo asks for, among those that distance and view cone allow."""
    retrieval_distance_m: float = Field(300.0, gt=0)
    """Largest distance of a retrieved pair, metres."""
    expansion_rounds: int = Field(2, ge=0)
    """Most rounds that propose (a, c) where (a, b) and (b, c) are verified; 0 expands nothing."""
    expansion_min_inliers: int = Field(30, ge=8)
    """Fewest inliers of a verified pair from which pairs are expanded."""
    expansion_distance_m: float = Field(60.0, gt=0)
    """Largest distance of an expanded pair, metres."""
    expansion_per_photo: float = Field(1.4, ge=0)
    """Budget of all rounds: so many pairs times the number of photos."""
    expansion_min_rate: float = Field(0.2, ge=0, le=1)
    """A round of which a smaller share is verified is the last."""
    expansion_min_new: int = Field(10, ge=1)
    """A round with fewer new pairs is not made."""
    sequence_steps: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 4, 8)
    """Steps along a sequence that make a pair, forwards."""
    matcher: Annotated[str, Field(pattern=r"^(auto|sift|lighterglue|hloc:.+)$")] = "auto"
    """Matcher: ``auto`` takes the one made for each kind of features that the photos have;
    ``sift`` or ``lighterglue`` that one only; ``hloc:NAME`` for features of hloc."""
    max_ratio: float = Field(0.8, gt=0, lt=1)
    """Lowe's ratio: best distance over second best."""
    min_inliers: int = Field(15, ge=8)
    """Fewest inliers of a verified pair."""
    min_inliers_across: int = Field(30, ge=8)
    """Fewest inliers of a pair of two sequences whose single matches cannot be tested."""
    min_agreeing_matches: int = Field(8, ge=4)
    """Fewest matches of a pair that both photos must put in one place on the map."""
    min_agreeing_share: float = Field(0.3, ge=0, le=1)
    """Smallest share of such matches among those of a pair that can be tested."""
    min_common_partners: int = Field(3, ge=0)
    """A pair with few such matches needs so many photos that have strong pairs with both."""
    max_verified_distance_m: float = Field(60.0, gt=0)
    """A verified pair whose GPS positions are farther apart is refused, metres."""
    max_heading_error_deg: float = Field(60.0, gt=0, le=180)
    """A pair that turns the camera otherwise than the two headings say is refused, degrees."""
    max_rotation_error_deg: float = Field(8.0, gt=0, le=180)
    """A pair that disagrees with the rotations of all others is refused, degrees."""
    max_direction_error_deg: float = Field(15.0, gt=0, le=180)
    """A pair whose baseline is this far from the GPS one is refused, degrees (GPS noise on top)."""
    gps_sigma_m: float = Field(4.0, gt=0)
    """Expected error of a GPS position against its neighbour's, metres."""
    seed: int = 0
    """Seed of every random draw."""


class MappingSettings(StepSettings):
    """How the sparse model of a box is solved and judged."""

    strategy: Literal["auto", "incremental", "geographic", "global"] = "auto"
    """Mapper; ``auto`` tries and keeps what explains most photos and agrees with GPS."""
    min_model_size: int = Field(6, ge=3)
    """Fewest photos of a component."""
    max_residual_m: float = Field(10.0, gt=0)
    """A photo farther than this (or 4 medians) from its GPS position is taken out, metres."""
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
    min_matches: int = Field(15, ge=8)
    """Pairs with fewer verified matches are not used for mapping."""
    min_refine_images: int = Field(20, ge=3)
    """A camera with known focal length is refined only if the box has this many of its photos."""
    enough_share: float = Field(0.9, ge=0, le=1)
    """``auto``: content when this share of the connected photos is explained; else tries the
    next."""
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
    seam_sigma_deg: float = Field(0.3, gt=0)
    """Expected disagreement of its direction of view, degrees."""
    gps_sigma_m: float = Field(3.0, gt=0)
    """Expected horizontal GPS error, metres."""
    gps_sigma_up_m: float = Field(9.0, gt=0)
    """Expected error of GPS heights, metres."""
    up_sigma_deg: float = Field(2.0, gt=0)
    """Expected tilt of a georegistered component, degrees."""
    scale_sigma: float = Field(0.005, gt=0)
    """Expected relative error of a component's scale; what keeps the seams from shrinking it."""
    min_shared: int = Field(2, ge=1)
    """Two components are tied when they share at least this many photos."""
    max_gps_per_component: int = Field(80, ge=3)
    """So many GPS positions of a component take part, drawn at random."""
    seed: int = 0
    """Seed of every random draw."""


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


class CitySettings(StepSettings):
    """A whole ``city.toml``."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,63}$")]
    """Name of the city."""
    area: str
    """A GeoJSON file relative to city.toml, or ``west,south,east,north`` in degrees."""
    truth: str = machine("")
    """Simulated cities: table of true poses, relative to city.toml."""
    frame: FrameSettings
    """Origin of the city frame."""
    source: SourceSettings = SourceSettings()
    """Where the photos come from."""
    photos: PhotoSettings = PhotoSettings()
    """Which photos are good enough."""
    panoramas: PanoramaSettings = PanoramaSettings()
    """What becomes of 360-degree photos."""
    masks: MaskSettings = MaskSettings()
    """What is ignored in the photos."""
    boxes: BoxSettings = BoxSettings()
    """How the area is cut."""
    features: FeatureSettings = FeatureSettings()
    """How features are extracted."""
    weights: WeightSettings = WeightSettings()
    """Which files of weights are brought."""
    matching: MatchingSettings = MatchingSettings()
    """Which pairs are tried and kept."""
    priors: PriorSettings = PriorSettings()
    """What positions are worth before anything is solved."""
    mapping: MappingSettings = MappingSettings()
    """How boxes are solved."""
    align: AlignSettings = AlignSettings()
    """How boxes are joined."""
    splat: SplatSettings = SplatSettings()
    """How splats are trained."""
    tiles: TilesSettings = TilesSettings()
    """How the city is published."""
    checks: CheckSettings = CheckSettings()
    """What a finished model must show."""
    backup: BackupSettings = BackupSettings()
    """Where backups go."""
    schedule: ScheduleSettings = ScheduleSettings()
    """When new imagery is looked for."""


class City(BaseModel):
    """A city on disk: its settings and where its files are."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    file: Path
    """Its city.toml, absolute."""
    settings: CitySettings
    """What the file says."""

    @property
    def root(self) -> Path:
        """The folder that holds everything of the city."""
        return self.file.parent

    def area(self) -> Area:
        """Read the area.

        Raises:
            AreaError: It is missing or no usable polygon.
        """
        text = self.settings.area
        if "," in text and not text.endswith((".json", ".geojson")):
            return Area.from_bounds(text)
        return Area.from_geojson(self.root / text)

    def frame(self) -> CityFrame:
        """Give the city frame."""
        origin = self.settings.frame
        return CityFrame(origin.origin_lon, origin.origin_lat, origin.origin_alt_m)


def load_city(path: Path) -> City:
    """Read a city file.

    Args:
        path: ``city.toml``, or the folder that holds it.

    Raises:
        ConfigError: The file is missing, is not TOML, or a value is unknown or wrong; lists every
            wrong key with what was seen.
    """
    file = (path / "city.toml" if path.is_dir() else path).absolute()
    try:
        values = tomllib.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(
            f"{file} does not exist",
            expected="a city file",
            fix="Make one with `citysplat init FOLDER --area west,south,east,north`.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} is not TOML: {error}",
            expected="key = value lines in [sections]",
            fix="Correct the line that is named, or make a new file with `citysplat init`.",
        ) from error
    try:
        settings = CitySettings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(
            f"{file} has {error.error_count()} wrong values: {_list_problems(error)}",
            expected="the keys and ranges of docs/settings.md",
            fix="Correct them and run again; nothing was changed.",
        ) from error
    return City(file=file, settings=settings)


def _list_problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])} = {problem['input']!r}: {problem['msg']}"
        if problem["type"] != "missing"
        else f"{'.'.join(str(part) for part in problem['loc'])} is missing"
        for problem in error.errors()
    )
