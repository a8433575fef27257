"""Metadata in bad weather: every fault ends with the truth in the ledger and a second run whole."""

import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from citysplat_core.errors import BlockedError, DiscoveryError, StorageError
from citysplat_core.imagery.services.http import Answer
from citysplat_core.imagery.services.metadata_store import MetadataStore
from citysplat_core.imagery.services.patience import Patience
from citysplat_core.imagery.tables import write_table

DESCRIBE = """
import sys
from pathlib import Path
from citysplat_core.imagery import MapillarySource, Token
from citysplat_core.imagery.tables import FOUND_SCHEMA, read_table
from citysplat_core.settings import SourceSettings
from citysplat_core.storage import no_progress
url, token, folder, clock = sys.argv[1:5]
settings = SourceSettings(tiles_url=url, graph_url=url, connections=2)
source = MapillarySource(
    settings, Token(token), Path(folder, "cache"), machine_dir=Path(folder, "machine"),
    clock=lambda: float(clock),
)
found = read_table(Path(folder, "found.parquet"), FOUND_SCHEMA)
table = source.describe(found, work=Path(folder, "work", sys.argv[5]), progress=no_progress)
print(table.column("status").to_pylist().count("listed"))
"""


@pytest.fixture
def found(service):
    table = service.discover().found
    write_table(table, service.folder / "found.parquet")
    return table


def start_process(service, work="w"):
    state = service.server.state
    arguments = [service.server.url, state.config.token, service.folder, state.clock.now(), work]
    return subprocess.Popen(
        [sys.executable, "-c", DESCRIBE, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ledger_of(service):
    return service.folder / "cache" / "mapillary" / "127.0.0.1" / "metadata.sqlite"


def ids_in_ledger(service):
    try:
        with sqlite3.connect(f"file:{ledger_of(service)}?mode=ro", uri=True) as connection:
            rows = {row[0] for row in connection.execute("SELECT image_id FROM images")}
        connection.close()
    except sqlite3.OperationalError:
        return set()
    return rows


def records(service, ids):
    with MetadataStore(ledger_of(service)) as store:
        return store.read(ids)


def statuses(described):
    return dict(
        zip(
            described.column("image_id").to_pylist(),
            described.column("status").to_pylist(),
            strict=True,
        )
    )


def test_a_process_killed_in_the_middle_loses_nothing_and_asks_for_nothing_twice(service, found):
    service.control("config", latency_ms=150.0)
    deleted = found.column("image_id").to_pylist()[:3]
    service.control("delete", ids=deleted)
    process = start_process(service)
    try:
        for _ in range(600):
            if len(ids_in_ledger(service)) >= 100:
                break
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    service.control("config", latency_ms=0.0)
    kept = ids_in_ledger(service)
    assert 100 <= len(kept) < found.num_rows
    described = statuses(service.describe(found, work="w"))
    assert {i for i, status in described.items() if status != "listed"} == set(deleted)
    answered = service.server.state.answered_ids
    # An absent id is asked for twice before it is believed, in one run or in two.
    twice = {i for i in kept - set(deleted) if answered[i] != 1}
    assert twice == set()
    assert set(answered) == set(described)


def test_two_processes_at_once_ask_for_each_image_once(service, found):
    service.control("config", latency_ms=30.0)
    processes = [start_process(service, work=f"w{n}") for n in range(2)]
    for process in processes:
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert int(output) == found.num_rows
    assert set(service.server.state.answered_ids.values()) == {1}


def test_two_clients_at_once_keep_one_pace(service, found):
    service.settings = {"entities_per_min": 240}  # 4 a second
    half = found.num_rows // 2
    parts = [found.slice(0, half), found.slice(half)]
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        sources = [service.source(), service.source()]
        sources[1]._folder = service.folder / "another-cache"  # noqa: SLF001 - another city
        works = [
            pool.submit(source.describe, part, work=service.work(), progress=lambda *_: None)
            for source, part in zip(sources, parts, strict=True)
        ]
        assert {s for w in works for s in w.result().column("status").to_pylist()} == {"listed"}
    n_requests = sum(-(-part.num_rows // 50) for part in parts)
    assert time.monotonic() - started > (n_requests - 2) / 4.0


def test_an_image_that_always_fails_is_recorded_rests_and_heals(service, found):
    ids = found.column("image_id").to_pylist()
    service.control("config", sick_ids=[ids[13]])
    for run in (1, 2):
        described = statuses(service.describe(found))
        assert [i for i, s in described.items() if s != "listed"] == [ids[13]]
        record = records(service, [ids[13]])[ids[13]]
        assert (record.state, record.tries) == ("failed", run)
        assert "unknown error" in record.error
    assert record.next_try == pytest.approx(service.server.state.clock.now() + 600, abs=5)
    before = service.count("graph")
    service.describe(found)
    assert service.count("graph") == before, "it rests"
    service.control("config", sick_ids=[])
    service.control("clock", advance_s=700)
    assert set(statuses(service.describe(found)).values()) == {"listed"}


def test_a_description_that_cannot_be_renewed_stays_in_use(service, found):
    service.settings = {"metadata_max_age_days": 1}
    service.describe(found)
    sick = found.column("image_id").to_pylist()[7]
    service.control("config", sick_ids=[sick])
    service.control("clock", advance_s=2 * 86_400)
    assert set(statuses(service.describe(found)).values()) == {"listed"}
    assert records(service, [sick])[sick].state == "failed"


def test_a_tombstone_holds_no_description_and_is_checked_again_later(service, found):
    service.describe(found)
    gone = found.column("image_id").to_pylist()[4]
    service.control("delete", ids=[gone])
    service.settings = {"metadata_max_age_days": 1}
    service.control("clock", advance_s=2 * 86_400)
    assert statuses(service.describe(found))[gone] == "gone"
    record = records(service, [gone])[gone]
    assert (record.state, record.entity) == ("gone", None)
    before = service.count("graph")
    service.describe(found)
    assert service.count("graph") == before
    service.control("clock", advance_s=80 * 3600)
    service.settings = {}
    service.describe(found)
    assert service.count("graph") > before


@pytest.mark.parametrize("kind", ["graph_reset", "graph_html", "graph_429", "graph_500"])
def test_what_breaks_an_answer_only_costs_a_repetition(service, found, kind):
    service.control("script", kind=kind, match="/images", times=3)
    assert set(statuses(service.describe(found)).values()) == {"listed"}
    assert service.count("scripted") == 3
    assert set(service.server.state.answered_ids.values()) == {1}


def test_the_pause_that_retry_after_asks_for_is_kept(service, found):
    service.control("config", graph_retry_after_s=1)
    service.control("script", kind="graph_429", match="/images", times=1)
    started = time.monotonic()
    assert set(statuses(service.describe(found)).values()) == {"listed"}
    assert time.monotonic() - started >= 1.0


def test_a_pause_beyond_patience_ends_the_run_and_says_when_to_come_back(service, found):
    service.control("config", graph_retry_after_s=7200)
    service.control("script", kind="graph_429", match="/images", times=1)
    with pytest.raises(BlockedError, match="Run again in 120 minutes"):
        service.describe(found)
    assert set(statuses(service.describe(found)).values()) == {"listed"}


def test_a_redirect_to_a_login_page_stops_the_run_at_once(service, found):
    service.control("script", kind="graph_302", match="/images", times=100)
    with pytest.raises(BlockedError, match="redirect") as caught:
        service.describe(found)
    assert service.count("graph") < 20
    assert service.server.state.config.token not in str(caught.value)
    service.server.state.scripts.clear()
    assert set(statuses(service.describe(found)).values()) == {"listed"}


def test_reduce_the_amount_makes_the_following_batches_smaller(service, found):
    service.settings = {"connections": 1}
    service.control("config", max_ids=13)
    assert set(statuses(service.describe(found)).values()) == {"listed"}
    # 50, 25 are refused once; then 12 or 13 at a time, not 50 again and again.
    assert service.count("reduce_data") < 12


def test_an_outage_counts_no_tries_against_the_images(service, found):
    service.control("config", p_graph_500=1.0)
    with pytest.raises(DiscoveryError, match="unless the service is down"):
        service.describe(found, work="w")
    service.control("config", p_graph_500=0.0)
    assert set(statuses(service.describe(found, work="w")).values()) == {"listed"}


def test_a_full_disk_is_one_clear_error_and_a_second_run_goes_on(service, found, monkeypatch):
    saved = []
    save = MetadataStore.save

    def full_after_three(store, entities, **options):
        saved.append(len(entities))
        if len(saved) > 3:
            raise sqlite3.OperationalError("database or disk is full")
        save(store, entities, **options)

    monkeypatch.setattr(MetadataStore, "save", full_after_three)
    with pytest.raises(StorageError, match=r"disk is full.*Free some space"):
        service.describe(found, work="w")
    monkeypatch.undo()
    kept = ids_in_ledger(service)
    assert len(kept) >= 150
    service.server.state.answered_ids.clear()
    assert set(statuses(service.describe(found, work="w")).values()) == {"listed"}
    assert not kept & set(service.server.state.answered_ids)


def test_a_damaged_ledger_says_that_it_may_be_deleted(service, found):
    ledger_of(service).parent.mkdir(parents=True, exist_ok=True)
    ledger_of(service).write_bytes(b"no database" * 500)
    with pytest.raises(StorageError, match="it is only a cache"):
        service.describe(found)


def test_the_clock_may_jump_back(service, found):
    service.settings = {"entities_per_min": 600}
    service.describe(found.slice(0, 50))
    service.server.state.clock.advance(0)
    ahead = service.source()
    ahead._clock = lambda: service.server.state.clock.now() + 30 * 86_400  # noqa: SLF001
    ahead.describe(found.slice(50, 50), work=service.work(), progress=lambda *_: None)
    started = time.monotonic()
    assert set(statuses(service.describe(found)).values()) == {"listed"}
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "17"}, 17.0),
        (
            {
                "Retry-After": "Wed, 21 Oct 2015 07:28:30 GMT",
                "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            30.0,
        ),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers, seconds):
    answer = Answer(status=429, headers=headers, content_type="", body=b"")
    assert answer.retry_after_s() == seconds


def test_an_image_rests_longer_after_each_failed_run():
    rests = [Patience().rest_s(tries) for tries in range(7)]
    assert rests == [0, 0, 600, 2400, 9600, 38_400, 86_400]
