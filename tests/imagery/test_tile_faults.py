"""Every way a tile host can fail: nothing is lost, nothing is invented, a second run finishes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from citysplat_core.errors import BlockedError, BudgetError, DiscoveryError, StorageError
from citysplat_core.imagery.mapillary.tile_budget import TileBudget
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.imagery.services.tile_cache import TileCache

ONCE = Patience(tries=1, base_s=0.0, cap_s=0.0, limit_pause_s=0.0, max_pause_s=0.0, max_pauses=1)


@pytest.fixture(autouse=True)
def _no_pictures(request, monkeypatch):
    """A picture costs more than all the rest of a look."""
    if "picture" not in request.node.name:
        monkeypatch.setattr("citysplat_core.imagery.discovery.draw_tiles", lambda *_: None)


def found(service):
    return set(service.table("found").image_id)


def test_news_and_losses_are_told_by_tile(service):
    service.look()
    before = found(service)
    added = set(service.control("add", n=50, seed=5, after_ms=1_400_000_000_000)["ids"])
    deleted = sorted(before)[:7]
    service.control("delete", ids=deleted)
    counts = service.look(refresh=True)
    assert set(service.table("gone").image_id) == set(deleted)
    assert found(service) == (before - set(deleted)) | (added & found(service))
    assert counts["images_new"] >= 47
    assert counts["images_gone"] == 7
    assert counts["images_unchanged"] == len(before) - 7
    tiles = service.table("tiles")
    assert tiles.n_new.sum() == counts["images_new"]


def test_an_unchanged_city_is_unchanged(service):
    service.look()
    asked = service.count("tile")
    counts = service.look(refresh=True)
    assert service.count("tile") == asked + 2
    assert (counts["images_new"], counts["images_gone"], counts["tiles_waiting"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("kind", "state"),
    [("tile_404", "unknown"), ("tile_500", "failed"), ("tile_reset", "failed"),
     ("tile_garbage", "failed"), ("tile_cut", "failed")],
)  # fmt: skip
def test_a_tile_that_fails_in_a_refetch_loses_no_image(service, kind, state):
    service.look()
    before = found(service)
    service.control("delete", ids=sorted(before)[:3])
    service.control("script", kind=kind, match="/8581/", times=1000)
    counts = service.look(refresh=True)
    assert service.table("tiles").state.tolist() == ["complete", state]
    assert service.table("tiles").tries.tolist() == [0, 8]
    assert counts["images_gone"] + len(before & found(service)) == len(before)
    assert counts["images_gone"] <= 3
    asked = service.count("tile")
    service.server.state.scripts.clear()
    assert service.look()["images_gone"] <= 3
    assert service.count("tile") == asked + 1, "only the tile that failed is asked again"
    assert found(service) == before - set(service.table("gone").image_id)
    assert len(service.table("gone")) == 3


def test_a_tile_that_fails_ten_times_is_failed_and_the_eleventh_answer_counts(service):
    service.patience = ONCE
    service.control("script", kind="tile_500", match="/8581/", times=10)
    for n in range(1, 11):
        counts = service.look()
        assert counts["tiles_failed"] == 1
        assert service.table("tiles").tries.tolist() == [0, n]
    assert service.look()["tiles_failed"] == 0
    assert service.count("tile") == 12


@pytest.mark.parametrize("told", ["", "0", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_too_many_requests_are_waited_for(service, told):
    service.control("config", tile_retry_after=told)
    service.control("script", kind="tile_429", match="", times=3)
    service.patience = Patience(limit_pause_s=0.02, max_pause_s=1.0)
    counts = service.look()
    assert counts["tiles_complete"] == 2
    assert service.count("tile") == 5


def test_retry_after_is_kept_by_all_processes_of_the_machine(service):
    service.control("config", tile_retry_after="3600")
    service.control("script", kind="tile_429", match="", times=1)
    with pytest.raises(BlockedError, match=r"named a time to wait for.*Run again after"):
        service.look()
    assert service.count("tile") == 1
    with pytest.raises(BlockedError, match="Run again after"):
        service.look()
    assert service.count("tile") == 1, "nobody asks before the time that was told"
    service.control("clock", advance_s=3601)
    assert service.look()["tiles_complete"] == 2


@pytest.mark.parametrize("kind", ["tile_302", "tile_html"])
def test_a_block_in_a_refetch_keeps_every_answer_and_no_process_asks(service, kind):
    service.look()
    before = found(service)
    service.control("delete", ids=sorted(before))
    asked = service.count("tile")
    service.control("script", kind=kind, match="", times=1)
    with pytest.raises(BlockedError, match="login page"):
        service.look(refresh=True)
    assert service.count("tile") == asked + 1
    live = service.ledger().snapshot(service.area)
    assert set(live.found.column("image_id").to_pylist()) == before
    assert service.states() == ["complete", "complete"]
    command = [*process(service, refresh=True)]
    other = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "BlockedError" in other.stderr
    assert service.count("tile") == asked + 1, "a machine that is blocked is silent"


def test_a_tile_that_loses_most_of_its_images_is_believed_a_day_later(service):
    service.look()
    before = found(service)
    service.control("delete", ids=sorted(before))
    counts = service.look(refresh=True)
    assert (counts["tiles_failed"], counts["images_gone"]) == (2, 0)
    assert found(service) == before
    assert "as in an outage" in service.table("tiles").reason[0]
    assert service.look()["tiles_failed"] == 2, "asking again at once proves nothing"
    service.control("clock", advance_s=21 * 3600)
    with pytest.raises(DiscoveryError, match="no photo in the area"):
        service.look()
    assert not set(service.states()) & {"failed", "unknown"}
    assert service.ledger().snapshot(service.area).gone.num_rows == len(before)


def test_an_outage_that_ends_leaves_no_doubt(service):
    service.look()
    before = found(service)
    alive = service.server.state.world.alive.copy()
    service.control("delete", ids=sorted(before))
    service.look(refresh=True)
    service.server.state.world.alive[:] = alive
    service.server.state.world.revision += 1
    counts = service.look()
    assert (counts["tiles_complete"], counts["tombstones"]) == (2, 0)
    assert not list((service.folder / "cache").rglob("*doubt*"))


def test_a_success_that_was_under_way_does_not_lift_a_block(service, tmp_path):
    now = [1e9]
    budget = TileBudget(tmp_path / "r.sqlite", "host", per_min=60, per_day=9,
                        patience=service.patience, clock=lambda: now[0])  # fmt: skip
    budget.reserve()
    now[0] += 5
    budget.report_block()
    budget.report_success(sent_at=1e9)
    with pytest.raises(BlockedError):
        budget.reserve()
    with pytest.raises(BlockedError):
        budget.still_to_wait()
    now[0] += service.patience.block_silence_s
    assert budget.reserve() == 0
    budget.report_success(sent_at=now[0])
    assert budget.reserve() == 1


def test_a_budget_that_does_not_suffice_reads_the_oldest_tile_first(service):
    service.look()
    service.settings = {"tiles_per_day": 3}
    counts = service.look(refresh=True)
    assert counts["tiles_waiting"] == 1
    assert "3 tiles of" in counts["stopped"]
    first = service.table("tiles").fetched_at
    late = int(first.argmin())
    assert first.iloc[1 - late] > first.iloc[late]
    service.control("clock", advance_s=86_000)
    service.settings = {"tiles_per_day": 4}
    assert service.look(refresh=True)["tiles_waiting"] == 1
    second = service.table("tiles").fetched_at
    assert second.iloc[late] > first.iloc[late], "the one that waited was read first"
    assert second.iloc[1 - late] == first.iloc[1 - late]


def test_a_first_look_beyond_the_budget_goes_on_the_next_day(service):
    service.settings = {"tiles_per_day": 1}
    counts = service.look()
    assert (counts["tiles_complete"], counts["tiles_unknown"]) == (1, 1)
    assert "Run again after" in counts["stopped"]
    with pytest.raises(BudgetError):
        service.discover()
    service.control("clock", advance_s=86_401)
    assert service.look()["tiles_complete"] == 2
    assert service.count("tile") == 2


def test_one_id_in_two_tiles_is_found_once(service):
    world = service.server.state.world
    rows = world.columns["image_id"]
    twin = rows[0]
    rows[1:3] = twin  # the server itself gives one id three times
    service.server.state.tile_cache.clear()
    service.look()
    assert found(service) >= {str(twin)}
    assert service.table("found").image_id.is_unique


def test_a_clock_that_jumps_is_no_reason_to_wait_or_to_trust(service, tmp_path):
    now = [2e9]  # the machine's clock is years ahead
    options = {"per_min": 60, "per_day": 9, "patience": service.patience, "clock": lambda: now[0]}
    budget = TileBudget(tmp_path / "r.sqlite", "host", **options)
    for _ in range(4):
        budget.reserve()
    budget.report_block()
    now[0] = 1e9
    with pytest.raises(BlockedError, match="2001-09-10"):
        budget.reserve()
    now[0] += service.patience.block_silence_s
    assert budget.reserve() <= 1.0, "not years"
    for _ in range(8):
        budget.reserve()
    with pytest.raises(BudgetError, match="9 tiles"):
        budget.reserve()
    cache = TileCache(tmp_path / "tiles")
    cache.write(14, 1, 1, b"x", fetched_at=2e9)
    assert cache.read(14, 1, 1, not_before=0, now=1e9) is None
    assert cache.read(14, 1, 1, not_before=0, now=2e9) is not None


def test_a_server_whose_clock_is_off_changes_nothing(service):
    service.look()
    service.server.state.clock.advance(40 * 86_400)
    real = service.source
    service.source = lambda: real_time(real())
    counts = service.look(refresh=True)
    assert counts["tiles_complete"] == 2
    assert counts["images_gone"] == 0


def real_time(source):
    source._clock = time.time  # noqa: SLF001 - the server's clock and the machine's differ
    return source


PROCESS = """
import sys
from pathlib import Path
from citysplat_core.geography import Area
from citysplat_core.imagery import MapillarySource, TileLedger, Token, discover_images
from citysplat_core.settings import SourceSettings
url, token, city, machine, bounds, per_min, refresh = sys.argv[1:]
city = Path(city)
for name in ("work", "out"):
    (city / name).mkdir(parents=True, exist_ok=True)
settings = SourceSettings(tiles_url=url, graph_url=url, tiles_per_min=int(per_min))
source = MapillarySource(settings, Token(token), city / "cache", machine_dir=Path(machine))
print("go", flush=True)
discover_images(
    Area.from_bounds(bounds), source=source,
    ledger=TileLedger(city / "imagery.sqlite", "mapillary"),
    out=city / "out", work=city / "work", refresh=refresh == "True",
    progress=lambda done, total, note: print(done, flush=True),
)
"""


def process(service, *, city=None, per_min=60_000, bounds=None, refresh=False):
    box = bounds or ",".join(map(str, service.area.polygon.bounds))
    return [
        sys.executable, "-c", PROCESS, service.server.url, service.server.state.config.token,
        str(city or service.folder), str(service.folder / "machine"), box, str(per_min),
        str(refresh),
    ]  # fmt: skip


WIDE = "8.50,47.36,8.61,47.38"  # 12 tiles


def test_two_runs_at_once_keep_the_one_pace(service, tmp_path):
    seen = watch_tiles(service)
    runs = [
        subprocess.Popen(
            process(service, city=tmp_path / name, per_min=600, bounds=WIDE),
            stdout=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    for run in runs:
        run.communicate(timeout=120)
        assert run.returncode == 0
    assert len(seen) == 24
    span_s = max(seen) - min(seen)
    assert span_s >= 0.9 * 23 * 0.1, "600 a minute together, not each"


def watch_tiles(service):
    """Times at which the server is asked for tiles."""
    state, seen = service.server.state, []
    real = state.wait_latency

    async def wait_latency(*, cdn=False):
        seen.append(time.monotonic())
        await real(cdn=cdn)

    state.wait_latency = wait_latency
    return seen


def test_a_killed_refetch_goes_on_and_asks_no_tile_twice(service):
    service.bounds = WIDE
    service.look()
    assert service.count("tile") == 12
    service.control("config", latency_ms=100.0)
    with subprocess.Popen(
        process(service, refresh=True), stdout=subprocess.PIPE, text=True
    ) as run:  # fmt: skip
        for line in run.stdout:
            if line.strip().isdigit() and int(line) >= 5:
                os.kill(run.pid, signal.SIGKILL)
                break
    time.sleep(0.3)
    asked = service.count("tile")
    service.control("config", latency_ms=0.0)
    counts = service.look(refresh=True)
    assert counts["tiles_waiting"] == 0
    assert service.count("tile") - asked <= 12 - 5, "what came before the kill is not asked again"


def test_a_full_disk_keeps_what_came_and_the_next_run_asks_for_the_rest(service, monkeypatch):
    import citysplat_core.imagery.services.tile_cache as module

    real, writes = module.published, []

    def full(path):
        writes.append(path)
        if len(writes) > 1:
            raise StorageError("the disk is full", expected="space", fix="Free some.")
        return real(path)

    monkeypatch.setattr(module, "published", full)
    with pytest.raises(StorageError, match="the disk is full"):
        service.look()
    monkeypatch.undo()
    asked = service.count("tile")
    assert service.look()["tiles_complete"] == 2
    assert service.count("tile") <= asked + 2
