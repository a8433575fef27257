"""What the server remembers between requests: world, settings, clock, counters and faults."""

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiohttp import web

from citysplat_core.simulation.server.clock import AddressBlocks, FixedWindows, ServerClock
from citysplat_core.simulation.server.config import ServerConfig
from citysplat_core.simulation.server.darkroom import Darkroom
from citysplat_core.simulation.server.pictures import ImageMaker
from citysplat_core.simulation.server.world import World

FAULT_KINDS = (
    *("graph_500", "graph_timeout_400", "graph_drop_id", "tile_404", "tile_html"),
    *("graph_429", "graph_302", "graph_html", "graph_reset"),
    *("tile_500", "tile_429", "tile_302", "tile_reset", "tile_garbage", "tile_cut"),
    *("stac_500", "stac_429", "stac_html", "stac_reset", "stac_cut"),
    *("cdn_500", "cdn_html", "cdn_reset", "cdn_truncate", "cdn_short", "cdn_corrupt", "cdn_slow"),
    *("cdn_429", "cdn_break"),
)


@dataclass(slots=True, kw_only=True)
class ScriptedFault:
    """The next ``times`` requests whose address contains ``match`` get fault ``kind``."""

    kind: str
    match: str
    times: int


@dataclass(kw_only=True)
class ServerState:
    """One server's state; touched only from its event loop, except for reading ``stats``.

    Attributes:
        world: The images.
        config: The settings.
        images: Where photo bytes come from.
        answered_ids: How often each id was answered in a batch.
        base_url: Address of the server, without a slash at the end; set when it listens.
    """

    world: World
    config: ServerConfig
    images: ImageMaker
    base_url: str = ""
    clock: ServerClock = field(default_factory=ServerClock)
    windows: FixedWindows = field(default_factory=FixedWindows)
    blocks: AddressBlocks = field(default_factory=AddressBlocks)
    counters: Counter[str] = field(default_factory=Counter)
    answered_ids: Counter[str] = field(default_factory=Counter)
    scripts: list[ScriptedFault] = field(default_factory=list)
    tile_cache: dict[tuple[str, int, int, int, int], bytes] = field(default_factory=dict)
    in_flight: Counter[str] = field(default_factory=Counter)
    chance: Random = field(init=False)
    darkroom: Darkroom = field(init=False)

    def __post_init__(self) -> None:
        """Seed the faults and open the darkroom."""
        self.chance = Random(self.config.seed)  # noqa: S311  # faults, not secrets
        self.darkroom = Darkroom(self.images)

    def fault(self, kind: str, request: web.Request) -> bool:
        """Say whether this request gets a fault, by script first, then by chance."""
        for script in self.scripts:
            if script.kind == kind and script.times > 0 and script.match in request.path_qs:
                script.times -= 1
                self.counters["scripted"] += 1
                return True
        return self.chance.random() < float(getattr(self.config, f"p_{kind}"))

    async def wait_latency(self, *, cdn: bool = False) -> None:
        """Wait as the settings say."""
        config = self.config
        wait = config.latency_ms
        if cdn and config.cdn_latency_ms is not None:
            wait = config.cdn_latency_ms
        if wait > 0:
            spread = config.latency_jitter * self.chance.uniform(-1.0, 1.0)
            await asyncio.sleep(wait * (1.0 + spread) / 1000.0)

    def reset_limits(self) -> None:
        """Forget all request counts and blocks."""
        self.windows.clear()
        self.blocks.clear()

    def stats(self) -> dict[str, Any]:
        """Return the counters, with the most requests ever in flight for each host."""
        return {**self.counters, "n": int(self.world.alive.sum())}

    def signature(self, image_id: str, kind: str, expiry: str) -> str:
        """Return the signature of a photo address."""
        secret = f"{self.config.seed}|{image_id}|{kind}|{expiry}"
        return "00_Af" + hashlib.sha256(secret.encode()).hexdigest()[:32]


STATE: web.AppKey[ServerState] = web.AppKey("state", ServerState)
