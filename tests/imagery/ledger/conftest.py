"""A tile ledger on a desk, with a source that says what a test wants."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from zlib import crc32

import pandas as pd
import pytest

from citysplat_core.errors import DiscoveryError
from citysplat_core.geography import Area, tile_bounds
from citysplat_core.imagery import TileLedger, discover_images
from citysplat_core.imagery.source import Discovery
from citysplat_core.imagery.tables import FOUND_SCHEMA, TILES_SCHEMA, table_of
from citysplat_core.storage import no_progress

AREA = Area.from_bounds("8.530,47.371,8.590,47.375")
START = 1_790_000_000.0


@dataclass
class Told:
    """A source: images by tile, tiles that fail, tiles that nobody came to."""

    images: dict[int, set[str]]
    fails: set[int] = field(default_factory=set)
    not_asked: set[int] = field(default_factory=set)
    stopped: DiscoveryError | None = None
    hashes: bool = True
    now: float = START
    refreshed: list[bool] = field(default_factory=list)
    name: str = "told"

    def discover(self, area, *, work, refresh, progress):
        del work, progress
        self.refreshed.append(refresh)
        tiles, rows = [], []
        for number, (z, x, y) in enumerate(area.tiles()):
            row = {"z": z, "x": x, "y": y}
            if number in self.not_asked:
                tiles.append(row | {"state": "unknown", "tries": 0, "reason": "not asked"})
            elif number in self.fails:
                tiles.append(row | {"state": "failed", "tries": 6, "reason": "HTTP 500"})
            else:
                ids = sorted(self.images.get(number, set()))
                told = {"sha256": str(crc32(repr(ids).encode()))} if self.hashes else {}
                told |= {"fetched_at": datetime.fromtimestamp(self.now, UTC)} if self.hashes else {}
                state = "complete" if ids else "empty"
                tiles.append(row | told | {"state": state, "n_images": len(ids), "tries": 1})
                rows += [image(name, (z, x, y)) for name in ids]
        found = table_of(rows, FOUND_SCHEMA).sort_by("image_id")
        return Discovery(
            tiles=table_of(tiles, TILES_SCHEMA), found=found, notes={}, stopped=self.stopped
        )


def image(name, tile):
    west, south, east, north = tile_bounds(*tile)
    lat = 47.373
    assert south < lat < north
    share = 0.4 + 0.4 * (crc32(name.encode()) % 1000) / 1000
    return {
        "image_id": name, "lon": west + (east - west) * share, "lat": lat, "sequence_id": "s",
        "is_pano": False, "tile": "/".join(map(str, tile)),
        "captured_at": datetime(2025, 6, 1, tzinfo=UTC),
    }  # fmt: skip


@dataclass
class Desk:
    """A ledger on disk and the last artifact."""

    root: object
    source: Told

    def ledger(self):
        return TileLedger(self.root / "imagery.sqlite", "told", clock=lambda: self.source.now)

    def look(self, *, refresh=False, area=AREA, previous=None):
        self.source.now += 1000
        (self.root / "out").mkdir(exist_ok=True)
        (self.root / "work").mkdir(exist_ok=True)
        report = discover_images(
            area, source=self.source, ledger=self.ledger(), out=self.root / "out",
            work=self.root / "work", refresh=refresh, previous=previous, progress=no_progress,
        )  # fmt: skip
        return report.counts

    def table(self, name):
        return pd.read_parquet(self.root / "out" / f"{name}.parquet")

    def tiles(self):
        return self.ledger().snapshot(AREA).tiles.to_pandas()

    def ids(self, name):
        return set(self.table(name).image_id)


@pytest.fixture(autouse=True)
def _no_pictures(request, monkeypatch):
    """A picture costs more than all the rest of a look."""
    if "picture" not in request.node.name:
        monkeypatch.setattr("citysplat_core.imagery.discovery.draw_tiles", lambda *_: None)


@pytest.fixture
def desk(tmp_path):
    images = {0: {"a", "b", "c"}, 1: {"d"}, 2: set()}
    return Desk(tmp_path, Told(images))
