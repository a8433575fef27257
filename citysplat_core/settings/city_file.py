"""A whole ``city.toml``: its sections, its place on disk, and reading it."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from citysplat_core.errors import ConfigError
from citysplat_core.geography import Area, CityFrame
from citysplat_core.settings.base import StepSettings, machine
from citysplat_core.settings.checks import CheckSettings
from citysplat_core.settings.features import FeatureSettings
from citysplat_core.settings.geography import BoxSettings, FrameSettings
from citysplat_core.settings.imagery import (
    MaskSettings,
    PanoramaSettings,
    PhotoSettings,
    SourceSettings,
)
from citysplat_core.settings.mapping import AlignSettings, MappingSettings
from citysplat_core.settings.matching import MatchingSettings
from citysplat_core.settings.priors import PriorSettings
from citysplat_core.settings.publishing import BackupSettings, ScheduleSettings, TilesSettings
from citysplat_core.settings.splatting import SplatSettings
from citysplat_core.settings.updating import UpdateSettings
from citysplat_core.settings.weights import WeightSettings


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
    update: UpdateSettings = UpdateSettings()
    """When a finished model is updated instead of solved again."""
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
