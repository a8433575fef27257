import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from citysplat_core.geography import Area, CityFrame
from citysplat_core.imagery import MapillarySource, TileLedger, Token, discover_images
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.settings import SourceSettings
from citysplat_core.simulation.server import (
    RunningServer,
    SyntheticScenes,
    SyntheticSpec,
    run_in_thread,
    synthetic_world,
)
from citysplat_core.storage import no_progress

# Across the border of two discovery tiles (8.54803 E), so that edges and neighbours matter.
BBOX = (8.546, 47.371, 8.550, 47.375)
QUICK = Patience(
    tries=8, base_s=0.005, cap_s=0.02, limit_pause_s=0.02, max_pause_s=0.02, max_pauses=3
)


@dataclass
class Service:
    """The local server and a fresh client for every call."""

    server: RunningServer
    folder: Path
    patience: Patience = QUICK
    settings: dict[str, Any] = field(default_factory=dict)
    token: str = ""
    calls: int = 0
    bounds: str = ",".join(map(str, BBOX))

    @property
    def area(self) -> Area:
        return Area.from_bounds(self.bounds)

    def source(self) -> MapillarySource:
        values = {"tiles_url": self.server.url, "graph_url": self.server.url}
        values |= {"tiles_per_min": 60_000, "connections": 16} | self.settings
        token = Token(self.token or self.server.state.config.token)
        return MapillarySource(
            SourceSettings(**values),
            token,
            self.folder / "cache",
            machine_dir=self.folder / "machine",
            patience=self.patience,
            clock=self.server.state.clock.now,
        )

    def work(self, name: str = "") -> Path:
        self.calls += not name
        path = self.folder / "work" / (name or str(self.calls))
        path.mkdir(parents=True, exist_ok=True)
        return path

    def discover(self, *, refresh: bool = False, work: str = "") -> Any:
        """Ask the source alone; raises what stopped it."""
        said = self.source().discover(
            self.area, work=self.work(work), refresh=refresh, progress=no_progress
        )
        if said.stopped is not None:
            raise said.stopped
        return said

    def ledger(self) -> TileLedger:
        return TileLedger(
            self.folder / "imagery.sqlite", "mapillary", clock=self.server.state.clock.now
        )

    def look(self, *, refresh: bool = False) -> dict[str, Any]:
        """Run the whole step into ``folder/out``; gives its counts."""
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        report = discover_images(
            self.area, source=self.source(), ledger=self.ledger(), out=out, work=self.work(),
            refresh=refresh, progress=no_progress,
        )  # fmt: skip
        return dict(report.counts)

    def table(self, name: str) -> pd.DataFrame:
        """A table of the last ``look``."""
        return pd.read_parquet(self.folder / "out" / f"{name}.parquet")

    def states(self) -> list[str]:
        """The ledger's own tile states, also after a look that raised."""
        return self.ledger().snapshot(self.area).tiles.column("state").to_pylist()

    def describe(self, found: Any, *, work: str = "") -> Any:
        return self.source().describe(found, work=self.work(work), progress=no_progress)

    def control(self, what: str, **values: Any) -> Any:
        address = f"{self.server.url}/_emu/{what}"
        request = Request(address, data=json.dumps(values).encode())  # noqa: S310 - our own server
        try:
            with urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
                return json.loads(answer.read())
        except HTTPError as error:
            pytest.fail(error.read().decode())

    def count(self, name: str) -> int:
        return int(self.control("stats").get(name, 0))

    def ids_inside(self) -> set[str]:
        world = self.server.state.world
        inside = self.area.contains(world.columns["lon"], world.columns["lat"]) & world.alive
        return {str(i) for i in world.columns["image_id"][inside]}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    world = synthetic_world(SyntheticSpec(n_images=500, bbox=BBOX))
    with run_in_thread(world, images=SyntheticScenes(size=(320, 240))) as server:
        yield Service(server, tmp_path)


@pytest.fixture
def frame() -> CityFrame:
    return CityFrame(8.548, 47.373, 400.0)


def jpeg(size: tuple[int, int] = (64, 48), *, seed: int = 0, **options: Any) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


@pytest.fixture
def make_jpeg() -> Any:
    return jpeg


def exif_bytes(lon: float, lat: float, **gps: Any) -> bytes:
    """EXIF as a phone writes it, by a library that is not the one that reads it."""
    import piexif

    def dms(value: float) -> tuple[tuple[int, int], ...]:
        value = abs(value)
        degrees, rest = int(value), (value % 1) * 60
        return (degrees, 1), (int(rest), 1), (round((rest % 1) * 60 * 10_000), 10_000)

    tags = {
        piexif.GPSIFD.GPSLatitude: dms(lat),
        piexif.GPSIFD.GPSLatitudeRef: "S" if lat < 0 else "N",
        piexif.GPSIFD.GPSLongitude: dms(lon),
        piexif.GPSIFD.GPSLongitudeRef: "W" if lon < 0 else "E",
    } | gps.pop("gps", {})
    return bytes(piexif.dump({"GPS": tags, **gps}))


@pytest.fixture
def make_exif() -> Any:
    return exif_bytes
