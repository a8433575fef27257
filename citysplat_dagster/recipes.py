"""What each asset is made from: the version of its step and the settings that it reads.

The same recipe gives the artifact's fingerprint and Dagster's code version, so that changing a
setting makes exactly the assets stale that read it. Raise a version when a step's results change.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from citysplat_core.settings import CitySettings
from citysplat_core.storage import digest_of, settings_dict


@dataclass(frozen=True)
class Recipe:
    """How an asset is made.

    Attributes:
        version: Version of the step's code.
        reads: Gives the settings that the step reads, as plain JSON values.
    """

    version: str
    reads: Callable[[CitySettings], Mapping[str, Any]]

    def code_version(self, settings: CitySettings) -> str:
        """Name the recipe for Dagster: the step's version and a hash of its settings."""
        return f"{self.version}-{digest_of(dict(self.reads(settings)))[:8]}"


def _section(*names: str) -> Callable[[CitySettings], Mapping[str, Any]]:
    def read(settings: CitySettings) -> Mapping[str, Any]:
        return {name: settings_dict(getattr(settings, name)) for name in names}

    return read


def _discovery(settings: CitySettings) -> Mapping[str, Any]:
    return {"area": settings.area, "source": settings_dict(settings.source)}


def _photos(settings: CitySettings) -> Mapping[str, Any]:
    # Which views are cut is said by the rows of the catalog; here only what is fetched counts.
    read = dict(_section("photos", "masks")(settings))
    return read | {"panoramas.download_px": settings.panoramas.download_px}


def _nothing(settings: CitySettings) -> Mapping[str, Any]:
    del settings
    return {}


RECIPES: Mapping[str, Recipe] = {
    "tile_ledger": Recipe("3", _discovery),
    "image_catalog": Recipe("3", _section("source", "panoramas")),
    "box_plan": Recipe("2", _section("frame", "boxes")),
    "box_images": Recipe("2", _photos),
    "model_weights": Recipe("1", _section("weights")),
    "box_features": Recipe("3", _section("features")),
    "box_matches": Recipe("6", _section("matching")),
    "fringe_matches": Recipe("6", _section("matching")),
    "sparse_model": Recipe("8", _section("mapping", "priors")),
    "city_alignment": Recipe("7", _section("align", "frame")),
    "splat": Recipe("2", _section("splat")),
    "city_tiles": Recipe("1", _section("tiles")),
    "backup": Recipe("1", _nothing),
}
"""One recipe an asset; the keys are the asset names."""
