import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from citysplat_core.errors import BlockedError, DiscoveryError, StorageError, TokenError
from citysplat_core.geography import tile_of
from citysplat_core.imagery import discover_images
from citysplat_core.storage import no_progress

EDGE_DEG = 1e-5  # half a tile unit, by which the tile's positions are rounded


def ids(table):
    return set(table.column("image_id").to_pylist())


def near_edge(service, image_ids):
    world = service.server.state.world
    rows = [world.row_of[int(i)] for i in image_ids]
    west, south, east, north = service.area.polygon.bounds
    lon, lat = world.columns["lon"][rows], world.columns["lat"][rows]
    distance = np.minimum.reduce([abs(lon - west), abs(lon - east), abs(lat - south),
                                  abs(lat - north)])  # fmt: skip
    return bool((distance < EDGE_DEG).all())


@pytest.mark.parametrize("buffer", [0, 64])
@pytest.mark.parametrize("gzip", [True, False])
def test_discovery_is_complete_and_without_doubles(service, buffer, gzip):
    service.control("config", tile_buffer=buffer, tile_gzip=gzip)
    found = service.discover()
    assert len(ids(found.found)) == found.found.num_rows > 300
    assert near_edge(service, ids(found.found) ^ service.ids_inside())
    assert found.tiles.column("state").to_pylist() == ["complete", "complete"]
    listed = found.found.column("image_id").to_pylist()
    assert listed == sorted(listed)
    assert any(int(i) > 2**53 for i in listed)


def test_the_tile_of_an_image_is_the_one_it_lies_in(service):
    found = service.discover().found
    lon, lat = found.column("lon").to_numpy(), found.column("lat").to_numpy()
    inner = (lon * 2**14 / 360) % 1 > 1e-6  # on the very border both tiles are right
    x, y = tile_of(lon, lat, 14)
    names = np.array([f"14/{a}/{b}" for a, b in zip(x.tolist(), y.tolist(), strict=True)])
    assert (names == np.array(found.column("tile").to_pylist()))[inner].all()
    assert inner.mean() > 0.98


@pytest.mark.parametrize("status", [200, 204])
def test_an_empty_tile_is_empty_and_an_area_of_such_tiles_is_an_error(service, tmp_path, status):
    service.control("config", empty_tile_status=status)
    from citysplat_core.geography import Area

    nowhere = Area.from_bounds("0.001,0.001,0.002,0.002")
    with pytest.raises(DiscoveryError, match=r"no photo in the area \(1 tiles asked"):
        discover_images(
            nowhere, source=service.source(), ledger=service.ledger(), out=tmp_path,
            work=service.work(), progress=no_progress,
        )  # fmt: skip


def test_a_tile_that_fails_for_good_is_failed_or_unknown_and_never_empty(service):
    service.control("script", kind="tile_404", match="/8581/", times=1000)
    counts = service.look()
    assert counts["tiles_unknown"] == 1
    assert counts["tiles_complete"] == 1
    assert 0 < counts["images_found"] < 400
    assert service.states() == ["complete", "unknown"]


def test_when_no_tile_can_be_read_the_area_is_not_called_empty(service):
    service.control("config", p_tile_404=1.0)
    with pytest.raises(DiscoveryError, match="does not mean the area is empty"):
        service.look()
    assert service.states() == ["unknown", "unknown"]


def test_a_transient_404_is_asked_again(service):
    service.control("config", p_tile_404=0.4)
    assert near_edge(service, ids(service.discover().found) ^ service.ids_inside())


def test_a_second_run_asks_for_nothing(service):
    first = service.discover()
    asked = service.count("tile")
    assert service.discover().found.equals(first.found)
    assert service.count("tile") == asked == 2


def test_a_second_run_asks_for_the_failed_tile_only(service):
    service.control("script", kind="tile_404", match="/8581/", times=8)
    assert service.discover().tiles.column("state").to_pylist() == ["complete", "unknown"]
    asked = service.count("tile")
    assert service.discover().tiles.column("state").to_pylist() == ["complete", "complete"]
    assert service.count("tile") == asked + 1


def test_a_refresh_sees_new_and_late_images_and_deletions(service):
    before = ids(service.discover().found)
    added = service.control("add", n=50, seed=5, after_ms=1_400_000_000_000)["ids"]
    gone = sorted(before)[:7]
    service.control("delete", ids=gone)
    assert ids(service.discover().found) == before
    after = ids(service.discover(refresh=True).found)
    assert not set(gone) & after
    assert len(set(added) - after) <= 3
    assert before - set(gone) <= after


def test_a_damaged_cache_entry_is_fetched_again(service, tmp_path):
    first = service.discover()
    entry = next((tmp_path / "cache").rglob("*.pbf.gz"))
    entry.write_bytes(entry.read_bytes()[:100])
    assert service.discover().found.equals(first.found)
    assert service.count("tile") == 3


def test_a_wrong_token_is_one_clear_error_without_the_token(service, caplog):
    caplog.set_level(logging.DEBUG)
    service.token = "MLY|1234567890123456|0123456789abcdef"  # noqa: S105 - nobody's
    with pytest.raises(TokenError, match=r"refused the token.*MAPILLARY_TOKEN") as caught:
        service.discover()
    assert "0123456789abcdef" not in str(caught.value) + repr(caught.value) + caplog.text
    assert service.count("tile") == 1


def test_a_block_stops_at_the_first_refusal_and_keeps_what_came(service):
    service.control("config", tiles_ip_rolling=1)
    with pytest.raises(BlockedError, match=r"blocks this machine.*Do not ask before"):
        service.discover()
    assert service.count("tile") == 2
    with pytest.raises(BlockedError):
        service.discover()
    assert service.count("tile") == 2, "a blocked machine stays silent"
    service.control("clock", advance_s=86_500)
    result = service.discover()
    assert result.tiles.column("state").to_pylist() == ["complete", "complete"]
    assert service.count("tile") == 3, "the tile that came before the block is not asked again"


def test_a_login_page_with_status_200_is_a_block_too(service):
    service.control("config", p_tile_html=1.0)
    with pytest.raises(BlockedError, match="login page"):
        service.discover()
    assert service.count("tile") == 1


def test_a_redirect_is_not_followed(service, caplog):
    caplog.set_level(logging.DEBUG)
    service.control("config", tiles_ip_rolling=1)
    with pytest.raises(BlockedError) as caught:
        service.discover()
    assert service.count("login") == 0
    secret = service.server.state.config.token.split("|")[2]
    assert secret not in caplog.text + str(caught.value)


def test_the_days_requests_are_counted_over_runs(service):
    service.settings = {"tiles_per_day": 1}
    with pytest.raises(BlockedError, match=r"at most 1 a day.*finished tiles are kept"):
        service.discover()
    assert service.count("tile") == 1
    service.control("clock", advance_s=86_401)
    service.discover()
    assert service.count("tile") == 2


@pytest.mark.parametrize(
    "how", [{"tiles_per_day": 1}, {"tiles_ip_rolling": 1, "block_status": 429}]
)
def test_too_many_requests_for_too_long_is_a_block(service, how):
    service.control("config", **how)
    with pytest.raises(BlockedError, match="too many requests"):
        service.discover()
    service.control("config", tiles_per_day=50_000, tiles_ip_rolling=0)
    service.control("clock", advance_s=61)  # what the answer told
    before = service.count("tile")
    assert service.discover().tiles.column("state").to_pylist() == ["complete", "complete"]
    assert service.count("tile") == before + 1


def test_a_full_disk_is_a_storage_error(service, monkeypatch):
    import citysplat_core.imagery.services.tile_cache as module

    def full(*_args, **_options):
        raise StorageError("the disk is full", expected="space", fix="Free some.")

    monkeypatch.setattr(module, "published", full)
    with pytest.raises(StorageError, match="the disk is full"):
        service.discover()


def test_rounded_ids_are_repaired_by_their_sequences(service):
    exact = ids(service.discover().found)
    service.control("config", ids_as_double=True)
    result = service.discover(refresh=True)
    assert result.notes["ids_rounded"] > 200
    assert result.notes["ids_rounded_unsolved"] == 0
    assert ids(result.found) == exact


KILLED = """
import sys
from pathlib import Path
from citysplat_core.geography import Area
from citysplat_core.imagery import MapillarySource, Token
from citysplat_core.settings import SourceSettings
from citysplat_core.storage import no_progress
url, token, folder, bounds = sys.argv[1:]
work = Path(folder) / "work" / "killed"
work.mkdir(parents=True, exist_ok=True)
settings = SourceSettings(tiles_url=url, graph_url=url, tiles_per_min=60000, connections=4)
source = MapillarySource(settings, Token(token), Path(folder) / "cache")
found = source.discover(Area.from_bounds(bounds), work=work, refresh=False, progress=no_progress)
source.describe(found.found, work=work, progress=lambda done, total, note: print(done, flush=True))
"""


def test_a_killed_run_goes_on_where_it_was(service, tmp_path):
    service.control("config", latency_ms=120.0)
    bounds = ",".join(map(str, service.area.polygon.bounds))
    command = [sys.executable, "-c", KILLED, service.server.url, service.server.state.config.token,
               str(tmp_path), bounds]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 100:
                break
        os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.5)  # requests of the dead process are still being answered
    service.control("config", latency_ms=0.0)
    tiles, asked = service.count("tile"), service.count("batch_ids")
    assert 100 <= asked < 500
    found = service.discover(work="killed").found
    described = service.describe(found, work="killed")
    assert set(described.column("status").to_pylist()) == {"listed"}
    assert described.num_rows == found.num_rows
    assert service.count("tile") == tiles == 2
    again = service.count("batch_ids") - asked
    assert again <= found.num_rows - 100, "batches that were answered are not asked again"


def test_two_processes_keep_the_rate_together(service, tmp_path):
    from citysplat_core.imagery.mapillary.tile_budget import TileBudget

    budgets = [
        TileBudget(tmp_path / "r.sqlite", "host", per_min=60, per_day=100,
                   patience=service.patience, clock=lambda: 1e9)
        for _ in range(2)
    ]  # fmt: skip
    waits = [budgets[i % 2].reserve() for i in range(6)]
    assert waits == pytest.approx([0, 1, 2, 3, 4, 5])
