"""Everything a user can set: ``city.toml`` as one frozen model a step.

A field marked as *machine* (threads, rates, addresses) changes how fast a result comes and not the
result: it is left out of fingerprints.
"""

from citysplat_core.settings.checks import CheckSettings
from citysplat_core.settings.city_file import City, CitySettings, load_city
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
    "UpdateSettings",
    "WeightSettings",
    "load_city",
]
