"""The demo: a simulated town, served by Mapillary's protocol, as a city to build."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from citysplat_core.city.new_city import new_city
from citysplat_core.geography import CityFrame, tile_bounds, tile_of
from citysplat_core.settings import City, load_city
from citysplat_core.simulation import TownSettings, write_town
from citysplat_core.simulation.town_server import free_port, serve_town

DEMO_PHOTOS = 240
SMALL_PHOTOS = 40
BOX_ZOOM = 19
SMALL_ZOOM = 18

_SECTIONS = """
[boxes]
min_zoom = {zoom}
max_zoom = {zoom}
"""
_SMALL = """
[features]
max_features = 2048

[splat]
iterations = 120
width_px = 160
max_gaussians = 8000
sh_degree = 1
"""


@contextmanager
def build_demo(
    folder: Path, *, n_photos: int | None, is_small: bool, say: Callable[[str], None]
) -> Iterator[City]:
    """Make the demo city's town and serve it while the block runs.

    Args:
        folder: Where; a demo that is there already is gone on with.
        n_photos: Photos of a new town; None: 240, or 40 if small.
        is_small: Few photos, 2 boxes, few training steps.
        say: Prints a line.

    Yields:
        The city; its source is the local server.
    """
    town = folder / "town"
    if not (folder / "city.toml").exists():
        count = n_photos or (SMALL_PHOTOS if is_small else DEMO_PHOTOS)
        say(f"Simulating a town of {count} photos in {folder}/town")
        settings = _settings(count, is_small=is_small)
        write_town(town, settings)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        new_city(
            folder,
            area=str(town / "area.geojson"),
            name=folder.absolute().name,
            source={
                "kind": "mapillary",
                "tiles_url": url,
                "graph_url": url,
                "tiles_per_min": 60_000,
                "connections": 8,
                "read_timeout_s": 60,
            },
            sections=_SECTIONS.format(zoom=SMALL_ZOOM if is_small else BOX_ZOOM)
            + (_SMALL if is_small else ""),
            truth="town/truth.parquet",
            origin=(settings.origin_lon, settings.origin_lat, settings.origin_alt_m),
        )
    city = load_city(folder)
    port = urlsplit(city.settings.source.graph_url).port or 0
    say("Starting the town's server; the first photo waits for the renderer's compilation")
    with serve_town(town, port=port) as url:
        say(f"Serving the town at {url} by Mapillary's protocol")
        yield city


def _settings(count: int, *, is_small: bool) -> TownSettings:
    """Choose the streets: the default town fills four boxes; the small one is a single crossing.

    The crossing lies half a block east and north of the town's origin; it is put on the border of
    two boxes, in the middle of their common side.
    """
    settings = TownSettings(n_photos=count)
    if not is_small:
        return settings
    x, y = tile_of(settings.origin_lon, settings.origin_lat, SMALL_ZOOM)
    west, south, _, north = tile_bounds(SMALL_ZOOM, int(x), int(y))
    half = settings.block_m / 2
    lon, lat, _ = CityFrame(west, (south + north) / 2).lon_lat_alt([-half, -half, 0.0])
    streets = {"n_streets_east": 1, "n_streets_north": 1}
    return TownSettings(n_photos=count, origin_lon=float(lon), origin_lat=float(lat), **streets)
