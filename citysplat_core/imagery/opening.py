"""Choosing the image source that the settings name."""

from pathlib import Path

from citysplat_core.errors import ConfigError, TokenError
from citysplat_core.imagery.folder import FolderSource
from citysplat_core.imagery.folder_rows import TrackOptions
from citysplat_core.imagery.mapillary import MapillarySource
from citysplat_core.imagery.panoramax import PanoramaxSource
from citysplat_core.imagery.source import ImageSource
from citysplat_core.imagery.token import Token
from citysplat_core.settings import SourceSettings

_NO_PHOTOS_OF_THE_USER = ("artifacts", "cache", "work", "failures", "dagster")
"""What a city keeps beside its city.toml, which may lie in the folder of photos."""


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
        return FolderSource(
            root / settings.path,
            root / settings.positions_csv if settings.positions_csv else None,
            tracks=TrackOptions(
                paths=tuple(root / path for path in settings.gpx),
                offset_s=settings.gpx_offset_s,
                max_gap_s=settings.gpx_max_gap_s,
                facing=settings.gpx_camera,
            ),
            cache_dir=cache_dir,
            skip=[root / name for name in _NO_PHOTOS_OF_THE_USER],
        )
    if settings.kind == "panoramax":
        return PanoramaxSource(settings, cache_dir, machine_dir=machine_dir)
    if not token:
        raise TokenError(
            "there is no Mapillary token",
            expected="a client token (MLY|...)",
            fix="Set MAPILLARY_TOKEN; tokens are made at mapillary.com/dashboard/developers.",
        )
    return MapillarySource(settings, token, cache_dir, machine_dir=machine_dir)
