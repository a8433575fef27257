"""Photos through every fault: what comes is whole, what does not is recorded, none comes twice."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from citysplat_core.errors import BlockedError
from citysplat_core.imagery import PhotoRequest, PhotoStore
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.storage import no_progress


@pytest.fixture
def ids(service):
    return service.discover().found.column("image_id").to_pylist()[:60]


def fetch(service, image_ids, folder="photos", progress=no_progress):
    store = PhotoStore(service.folder / folder)
    results = service.source().fetch_photos(
        [PhotoRequest(image_id=i) for i in image_ids], store, size_px=1024, n_threads=2,
        progress=progress,
    )  # fmt: skip
    store.flush()
    return results


def assert_whole(service, results, expected):
    assert [result.image_id for result in results] == expected
    assert {result.state for result in results} == {"ok"}
    for result in results:
        assert result.path.read_bytes() == service.server.state.images.jpeg(result.image_id)
    assert not list(service.folder.rglob("*.part"))
    assert service.count("cdn_auth_leak") == 0


@pytest.mark.parametrize(
    "kind",
    ["cdn_500", "cdn_html", "cdn_reset", "cdn_break", "cdn_short", "cdn_truncate", "cdn_corrupt"],
)
def test_a_fault_of_each_kind_costs_tries_and_no_photo(service, ids, kind):
    service.control("script", kind=kind, match="_1024", times=15)
    assert_whole(service, fetch(service, ids[:30]), ids[:30])
    assert service.count("scripted") == 15


def test_addresses_that_expire_in_the_middle_are_renewed_a_batch_at_a_time(service, ids):
    service.control("config", url_ttl_s=600.0)
    service.settings = {"connections": 2}
    asked = []

    def jump(done, total, note):
        del total, note
        if done >= 5 and not asked:
            asked.append(service.count("graph"))
            service.control("clock", advance_s=900)

    results = fetch(service, ids[:50], progress=jump)
    assert_whole(service, results, ids[:50])
    # One request for the addresses of the batch, and one when they expired: not one a photo.
    assert service.count("graph") - asked[0] <= 2


def test_too_many_requests_pause_all_downloads_and_are_no_tries(service, ids):
    service.patience = Patience(
        tries=2, base_s=0.005, cap_s=0.02, limit_pause_s=0.02, max_pause_s=0.02, max_pauses=9
    )
    service.settings = {"connections": 2}
    service.control("script", kind="cdn_429", match="_1024", times=8)
    assert_whole(service, fetch(service, ids[:10]), ids[:10])
    assert service.count("cdn_limited") == 8


def test_a_photo_host_that_refuses_for_long_stops_the_download_and_keeps_what_came(service, ids):
    service.settings = {"connections": 2}
    fetch(service, ids[:7])
    service.control("config", p_cdn_429=1.0)
    with pytest.raises(BlockedError, match=r"HTTP 429 .*the photos that came are kept"):
        fetch(service, ids)
    service.control("config", p_cdn_429=0.0)
    before = service.count("cdn")
    assert_whole(service, fetch(service, ids), ids)
    assert service.count("cdn") - before == 53


def test_a_slow_host_is_waited_for_within_the_read_timeout(service, ids):
    service.settings = {"read_timeout_s": 1.0}
    service.control("script", kind="cdn_slow", match=ids[0], times=1)  # three seconds of silence
    assert_whole(service, fetch(service, ids[:3]), ids[:3])


def test_a_deleted_photo_is_gone_and_is_asked_for_once(service, ids):
    service.control("delete", ids=[ids[1]])
    results = fetch(service, ids[:3])
    assert [result.state for result in results] == ["ok", "gone", "ok"]
    assert results[1].reason == "deleted at the source"
    assert service.count("cdn") == 2


def test_a_photo_deleted_while_it_is_fetched_is_gone_too(service, ids):
    service.settings = {"connections": 1}
    deleted = []

    def delete(done, total, note):
        del total, note
        if done == 1 and not deleted:
            deleted.append(service.control("delete", ids=[ids[9]]))

    results = fetch(service, ids[:10], progress=delete)
    assert [result.state for result in results] == ["ok"] * 9 + ["gone"]


def test_two_runs_at_once_on_one_cache_both_end_well(service, ids):
    service.control("config", cdn_latency_ms=10.0)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda part: fetch(service, part), [ids, ids[::-1]])
    assert_whole(service, first, ids)
    assert_whole(service, second, ids[::-1])
    assert service.count("cdn") < 2 * len(ids), "what one run has, the other does not fetch"
    before = service.count("cdn")
    fetch(service, ids)
    assert service.count("cdn") == before


def test_no_photo_that_was_finished_before_a_kill_is_fetched_again(service, ids):
    service.control("config", cdn_latency_ms=60.0)
    program = textwrap.dedent("""
        import sys
        from pathlib import Path
        from citysplat_core.imagery import MapillarySource, PhotoRequest, PhotoStore, Token
        from citysplat_core.settings import SourceSettings
        url, token, folder, *ids = sys.argv[1:]
        settings = SourceSettings(tiles_url=url, graph_url=url, connections=2)
        source = MapillarySource(settings, Token(token), Path(folder) / "killed")
        source.fetch_photos(
            [PhotoRequest(image_id=i) for i in ids], PhotoStore(Path(folder) / "photos"),
            size_px=1024, n_threads=1, progress=lambda *told: None,
        )
    """)
    told = [service.server.url, service.server.state.config.token, str(service.folder)]
    child = subprocess.Popen([sys.executable, "-c", program, *told, *ids])
    photos = service.folder / "photos"
    deadline = time.monotonic() + 60
    while len(list(photos.rglob("*.jpg"))) < 12:
        assert child.poll() is None, "the child ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    service.control("config", cdn_latency_ms=0.0)
    kept = len(list(photos.rglob("*.jpg")))
    assert 12 <= kept < len(ids)
    before = service.count("cdn")
    assert_whole(service, fetch(service, ids), ids)
    assert service.count("cdn") - before == len(ids) - kept
