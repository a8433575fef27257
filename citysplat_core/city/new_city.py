"""A new city file."""

import json
from collections.abc import Sequence
from pathlib import Path

from citysplat_core.errors import ConfigError
from citysplat_core.geography import Area
from citysplat_core.settings import City, load_city
from citysplat_core.storage import published

_TEMPLATE = """\
# A CitySplat city. Every setting has a default; docs/settings.md lists them all.
name = {name}
area = {area}
{extra}
[frame] # the city frame's origin: changing it moves every model
origin_lon = {lon}
origin_lat = {lat}
origin_alt_m = {alt_m}

[source]
{source}
# On a GPU, train longer and larger:
# [splat]
# iterations = 15000
# width_px = 1024
# max_gaussians = 1000000
# sh_degree = 3
"""


def new_city(  # noqa: PLR0913 - one argument a line of the file
    folder: Path,
    *,
    area: str,
    name: str = "",
    photos: Path | None = None,
    positions: Path | None = None,
    gpx: Sequence[Path] = (),
    panoramax: bool = False,
    source: dict[str, str | int] | None = None,
    sections: str = "",
    truth: str = "",
    origin: tuple[float, float, float] | None = None,
) -> City:
    """Write a city file and read it back.

    Args:
        folder: The city's folder; made if it is not there.
        area: ``west,south,east,north`` in degrees, or a GeoJSON file, which is copied.
        name: Name of the city; the folder's name if empty.
        photos: Folder of the user's own photos; None: a service.
        positions: CSV of their positions.
        gpx: GPX tracks, files or folders, that they were taken along.
        panoramax: Whether the service is Panoramax; else it is Mapillary.
        source: More values of the [source] section.
        sections: More sections, as TOML.
        truth: A simulated city's table of true poses, relative to the folder.
        origin: Longitude, latitude, height of the frame; None: the middle of the area, height 0.

    Raises:
        ConfigError: There is a city.toml already, or the folder of photos is not there.
        AreaError: The area cannot be used; nothing is written then.
    """
    file = folder / "city.toml"
    if file.exists():
        raise ConfigError(
            f"{file} is there already",
            expected="a new folder",
            fix="Edit that file, or choose another folder; nothing was changed.",
        )
    path = Path(area)
    is_file = area.endswith((".json", ".geojson")) or path.is_file()
    polygon = Area.from_geojson(path) if is_file else Area.from_bounds(area)
    values = {**_source_of(photos, positions, gpx, panoramax=panoramax), **(source or {})}
    lon, lat, alt_m = origin or (*(round(v, 7) for v in polygon.center()), 0.0)
    folder.mkdir(parents=True, exist_ok=True)
    if is_file:
        with published(folder / "area.geojson") as stream:
            stream.write(json.dumps(polygon.to_geojson()).encode())
    text = _TEMPLATE.format(
        name=json.dumps(name or folder.absolute().name),
        area=json.dumps("area.geojson" if is_file else area),
        extra=f"truth = {json.dumps(truth)}\n" if truth else "",
        lon=lon,
        lat=lat,
        alt_m=alt_m,
        source="".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items()),
    )
    with published(file) as stream:
        stream.write((text + sections).encode())
    return load_city(file)


def _source_of(
    photos: Path | None, positions: Path | None, gpx: Sequence[Path], *, panoramax: bool
) -> dict[str, str | int | list[str]]:
    if photos is None:
        if positions is not None or gpx:
            raise ConfigError(
                f"{'--positions' if positions is not None else '--gpx'} without --photos",
                expected="a folder of photos that the positions belong to",
                fix="Add --photos FOLDER.",
            )
        return {"kind": "panoramax" if panoramax else "mapillary"}
    if panoramax:
        raise ConfigError(
            "--panoramax with --photos",
            expected="one source of photos for a city",
            fix="Leave one of them out; nothing was written.",
        )
    for given in (photos, positions, *gpx):
        if given is not None and not given.exists():
            raise ConfigError(
                f"{given} does not exist",
                expected="a folder of photos, and a CSV or GPX tracks if they are given",
                fix="Check the path; nothing was written.",
            )
    table = {"positions_csv": str(positions.absolute())} if positions else {}
    tracks = {"gpx": [str(path.absolute()) for path in gpx]} if gpx else {}
    return {"kind": "folder", "path": str(photos.absolute()), **table, **tracks}
