"""A simulated town behind the local server, photos rendered when they are asked for."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

from citysplat_core.errors import ConfigError
from citysplat_core.simulation.photos import PhotoMaker
from citysplat_core.simulation.server import ServerConfig, read_world, run_in_thread


def free_port() -> int:
    """Give a port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve_town(town: Path, *, port: int) -> Iterator[str]:
    """Serve a town by Mapillary's protocol while the block runs.

    Args:
        town: Folder written by ``write_town``.
        port: Port on 127.0.0.1; 0 takes a free one.

    Yields:
        The base address for tiles, graph and photos.

    Raises:
        ConfigError: There is no town there, or the port is taken.
    """
    world_file = town / "world.parquet"
    if not world_file.is_file():
        raise ConfigError(
            f"{town} holds no world.parquet",
            expected="a simulated town",
            fix="Make one with `citysplat demo`.",
        )
    try:
        maker = PhotoMaker(town)
        # Compiles the renderer, so that no client has to wait for it until it gives up.
        maker.jpeg(str(pq.read_table(world_file, columns=["image_id"])["image_id"][0].as_py()))
        with run_in_thread(read_world(world_file), ServerConfig(), maker, port=port) as running:
            yield running.url
    except OSError as error:
        if error.errno is None or "address" not in str(error):
            raise
        raise ConfigError(
            f"port {port} is taken",
            expected="a free port for the town's server",
            fix="Stop what listens there, or change the two addresses in [source] of city.toml.",
        ) from error


def serve_town_forever(town: Path, *, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve a town until Ctrl-C; ``on_ready`` hears the address."""
    with serve_town(town, port=port) as url:
        on_ready(url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return
