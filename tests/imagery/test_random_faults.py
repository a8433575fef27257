"""Whatever fails in whatever order: a few runs later everything is found, and no run lies."""

import contextlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citysplat_core.errors import BlockedError, DiscoveryError
from citysplat_core.geography import tile_of
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.simulation.server import SyntheticSpec, run_in_thread, synthetic_world
from tests.imagery.conftest import Service

BBOX = (8.535, 47.36, 8.58, 47.385)
EDGE_DEG = 1e-5  # half a tile unit, by which the tile's positions are rounded
HASTY = Patience(
    tries=2, base_s=0.0, cap_s=0.0, limit_pause_s=0.0, max_pause_s=0.01, max_pauses=2
)  # fmt: skip

FAULTS = st.lists(
    st.tuples(
        st.sampled_from(
            ["tile_404", "tile_500", "tile_429", "tile_302", "tile_html", "tile_garbage",
             "tile_cut", "tile_reset"]
        ),
        st.sampled_from(["", "/8580/", "/8581/", "/8582/"]),
        st.integers(1, 5),
    ),
    max_size=3,
)  # fmt: skip
RUNS = st.lists(
    st.fixed_dictionaries(
        {
            "faults": FAULTS,
            "refresh": st.booleans(),
            "added": st.integers(0, 4),
            "deleted": st.integers(0, 4),
            "per_day": st.sampled_from([2, 5, 3500]),
            "hours": st.sampled_from([0, 5, 30]),
        }
    ),
    min_size=1,
    max_size=5,
)


@dataclass
class Truth:
    """What the server had, and when."""

    service: Service
    history: list[tuple[float, dict[str, set[str]]]] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)

    def note(self) -> None:
        self.history.append((self.service.server.state.clock.now(), self.by_tile()))

    def by_tile(self) -> dict[str, set[str]]:
        columns = self.service.server.state.world.columns
        alive = self.service.server.state.world.alive
        lon, lat = columns["lon"], columns["lat"]
        x, y = tile_of(lon, lat, 14)
        inner = alive & self.service.area.contains(lon, lat) & ~self.near_an_edge(lon, lat)
        found: dict[str, set[str]] = {}
        for row in np.flatnonzero(inner):
            name = f"14/{x[row]}/{y[row]}"
            found.setdefault(name, set()).add(str(columns["image_id"][row]))
        return found

    def near_an_edge(self, lon, lat):
        """Positions whose rounding may put them into another tile, or out of the area."""
        west, south, east, north = self.service.area.polygon.bounds
        sides = np.minimum.reduce([abs(lon - west), abs(lon - east), abs(lat - south),
                                   abs(lat - north)])  # fmt: skip
        moved = [tile_of(lon + dx, lat + dy, 14) for dx in (-EDGE_DEG, EDGE_DEG)
                 for dy in (-EDGE_DEG, EDGE_DEG)]  # fmt: skip
        x, y = tile_of(lon, lat, 14)
        crossing = np.logical_or.reduce([(x != a) | (y != b) for a, b in moved])
        return (sides < EDGE_DEG) | crossing

    def at(self, seconds: float) -> dict[str, set[str]]:
        return [world for since, world in self.history if since <= seconds + 0.002][-1]

    def judge(self) -> None:
        """Compare the ledger with what the server had when each tile was read."""
        now = self.service.ledger().snapshot(self.service.area)
        found, gone = now.found.to_pandas(), set(now.gone.column("image_id").to_pylist())
        assert gone <= self.deleted, "nothing reads as gone that is not"
        everywhere = set().union(*(set().union(*w.values()) for _, w in self.history))
        for row in now.tiles.to_pylist():
            name = f"{row['z']}/{row['x']}/{row['y']}"
            listed = set(found.image_id[found.tile == name]) & everywhere
            if row["fetched_at"] is None:
                assert row["state"] in {"unknown", "failed"}
                assert not listed
                continue
            assert listed == self.at(row["fetched_at"].timestamp()).get(name, set())


def run_once(truth: Truth, plan: dict, seed: int) -> None:
    service = truth.service
    service.control("clock", advance_s=plan["hours"] * 3600.0)
    if plan["added"]:
        service.control("add", n=plan["added"], seed=seed, after_ms=1_400_000_000_000)
    world = service.server.state.world
    alive = [str(i) for i in world.columns["image_id"][world.alive]]
    victims = alive[seed % 7 : seed % 7 + plan["deleted"]]
    service.control("delete", ids=victims)
    truth.deleted |= set(victims)
    truth.note()
    for kind, match, times in plan["faults"]:
        service.control("script", kind=kind, match=match, times=times)
    service.settings = {"tiles_per_day": plan["per_day"]}
    # Told, not hidden; the ledger must be true all the same.
    with contextlib.suppress(DiscoveryError):
        service.look(refresh=plan["refresh"])
    truth.judge()


@pytest.mark.usefixtures("_no_pictures")
@settings(max_examples=12, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(runs=RUNS)
def test_after_random_faults_everything_is_found_and_no_run_lies(runs):
    world = synthetic_world(SyntheticSpec(n_images=150, bbox=BBOX))
    with tempfile.TemporaryDirectory() as folder, run_in_thread(world) as server:
        service = Service(server, Path(folder), patience=HASTY)
        service.bounds = ",".join(map(str, BBOX))
        service.control("config", tile_retry_after="")
        truth = Truth(service)
        for seed, plan in enumerate(runs):
            run_once(truth, plan, seed)
        service.server.state.scripts.clear()
        service.settings = {}
        service.control("clock", advance_s=4 * 86_400.0)  # whatever blocked is over
        truth.note()
        counts = service.look(refresh=True)
        truth.judge()
        assert counts["tiles_complete"] + counts["tiles_empty"] == counts["tiles"]
        assert counts["tiles_waiting"] == 0
        listed = set(service.table("found").image_id)
        inner = set().union(*truth.by_tile().values())
        assert inner <= listed
        assert not listed & truth.deleted


@pytest.fixture
def _no_pictures(monkeypatch):
    monkeypatch.setattr("citysplat_core.imagery.discovery.draw_tiles", lambda *_: None)


def test_the_machine_is_silent_for_a_day_whatever_is_tried(service):
    service.control("script", kind="tile_302", match="", times=1)
    for _ in range(3):
        with pytest.raises(BlockedError):
            service.look()
        service.control("clock", advance_s=20_000)
    assert service.count("tile") == 1
