"""Starting and stopping the server: in a thread for tests, in the foreground for the demo."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import web

from citysplat_core.simulation.server.application import build_application
from citysplat_core.simulation.server.config import ServerConfig
from citysplat_core.simulation.server.pictures import ImageMaker, SyntheticScenes
from citysplat_core.simulation.server.state import ServerState
from citysplat_core.simulation.server.world import World

_BACKLOG = 2048
_LINGER_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that listens.

    Attributes:
        state: Its state; read it freely, change it through the control calls.
        url: Base address for tiles, graph, photos and control, without a slash at the end.
        port: The port it listens on, on 127.0.0.1.
    """

    state: ServerState
    url: str
    port: int


async def _start(state: ServerState, port: int) -> tuple[web.AppRunner, int]:
    runner = web.AppRunner(build_application(state), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=_BACKLOG)
    await site.start()
    actual = int(runner.addresses[0][1])
    state.base_url = f"http://127.0.0.1:{actual}"
    return runner, actual


async def _stop(runner: web.AppRunner) -> None:
    """Close the server, and let sockets that were accepted at the last moment close as well."""
    await runner.cleanup()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(_LINGER_S)


@contextmanager
def run_in_thread(
    world: World,
    config: ServerConfig | None = None,
    images: ImageMaker | None = None,
    *,
    port: int = 0,
) -> Iterator[RunningServer]:
    """Run a server in a thread of its own while the block lasts.

    Args:
        world: The images it knows.
        config: Its settings; None for the defaults.
        images: Where photo bytes come from; None for drawn scenes.
        port: Port on 127.0.0.1; 0 takes a free one.

    Yields:
        The running server.

    Raises:
        OSError: The port is taken.
    """
    state = ServerState(
        world=world,
        config=config or ServerConfig(),
        images=images or SyntheticScenes(panoramas=world.panorama_ids),
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="local-mapillary", daemon=True)
    thread.start()
    try:
        started = asyncio.run_coroutine_threadsafe(_start(state, port), loop)
        runner, actual = started.result(timeout=30)
        try:
            yield RunningServer(state=state, url=state.base_url, port=actual)
        finally:
            asyncio.run_coroutine_threadsafe(_stop(runner), loop).result(timeout=30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def serve(
    world: World,
    config: ServerConfig,
    images: ImageMaker,
    *,
    port: int,
    announce: Callable[[str], None],
) -> None:
    """Serve until interrupted.

    Args:
        world: The images.
        config: The settings.
        images: Where photo bytes come from.
        port: Port on 127.0.0.1; 0 takes a free one.
        announce: Called once with one line, the address and the token, when the server listens.

    Raises:
        OSError: The port is taken.
    """
    state = ServerState(world=world, config=config, images=images)

    async def run() -> None:
        runner, _ = await _start(state, port)
        announce(f"Mapillary-compatible server: {state.base_url} token {config.token}")
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        return
