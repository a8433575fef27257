"""Choosing the image source that the settings name."""

from pathlib import Path

from citysplat_core.errors import ConfigError, TokenError
from citysplat_core.imagery.folder import FolderSource
from citysplat_core.imagery.mapillary import MapillarySource
from citysplat_core.imagery.panoramax import PanoramaxSource
from citysplat_core.imagery.source import ImageSource
from citysplat_core.imagery.token import Token
from citysplat_core.settings import SourceSettings


def open_source(
    settings: SourceSettings,
    root: Path,
    *,
    token: Token | None,
    cache_dir: Path,
    machine_dir: Path | None = None,
) -> ImageSource:
    """Return the image source of a city; nothing is asked yet.

    Args:
        settings: The [source] section.
        root: The folder of city.toml, which the paths in the settings are relative to.
        token: The access token; needed for Mapillary only.
        cache_dir: For answers that may be used again; may be deleted.
        machine_dir: For what all cities of a machine share, such as the count of requests to a
            host; None puts it into the cache.

    Raises:
        TokenError: Mapillary without a token.
        ConfigError: A folder source without an existing folder.
    """
    if settings.kind == "folder":
        if not settings.path:
            raise ConfigError(
                "source.kind is `folder` and source.path is empty",
                expected="the folder with the photos",
                fix="Set source.path in city.toml, relative to that file.",
            )
        csv = root / settings.positions_csv if settings.positions_csv else None
        return FolderSource(root / settings.path, csv)
    if settings.kind == "panoramax":
        return PanoramaxSource(settings, cache_dir)
    if not token:
        raise TokenError(
            "there is no Mapillary token",
            expected="a client token (MLY|...)",
            fix="Set MAPILLARY_TOKEN; tokens are made at mapillary.com/dashboard/developers.",
        )
    return MapillarySource(settings, token, cache_dir, machine_dir=machine_dir)
