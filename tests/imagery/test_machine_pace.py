"""One pace for all processes of a machine."""

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from citysplat_core.errors import StorageError
from citysplat_core.imagery.services.machine_pace import MachinePace


def ask(pace, n_requests):
    async def work():
        for _ in range(n_requests):
            await pace.wait()

    started = time.monotonic()
    asyncio.run(work())
    return time.monotonic() - started


def ask_in_process(job):
    path, per_min, n_requests = job
    return ask(MachinePace(path, "graph", per_min), n_requests)


def test_requests_are_spaced_evenly(tmp_path):
    pace = MachinePace(tmp_path / "g.sqlite", "graph", 1200)  # 20 a second
    assert ask(pace, 11) >= 10 / 20


def test_processes_share_one_pace(tmp_path):
    jobs = [(tmp_path / "g.sqlite", 1200, 10)] * 3
    started = time.monotonic()
    with ProcessPoolExecutor(3) as pool:
        list(pool.map(ask_in_process, jobs))
    # 30 requests at 20 a second; a process that holds the last lease waits for it only.
    assert time.monotonic() - started >= (30 - 5 - 1) / 20


def test_a_pause_of_one_client_holds_for_the_others(tmp_path):
    one, two = (MachinePace(tmp_path / "g.sqlite", "graph", 60_000) for _ in range(2))
    one.pause(0.4)
    assert ask(two, 1) >= 0.35


def test_hosts_have_a_pace_of_their_own(tmp_path):
    one = MachinePace(tmp_path / "g.sqlite", "graph", 60)
    two = MachinePace(tmp_path / "g.sqlite", "another", 60)
    one.pause(30)
    assert ask(two, 1) < 5


def test_a_clock_that_was_ahead_does_not_stop_everybody(tmp_path):
    ahead = MachinePace(tmp_path / "g.sqlite", "graph", 600, clock=lambda: time.time() + 1e6)
    ask(ahead, 1)
    assert ask(MachinePace(tmp_path / "g.sqlite", "graph", 600), 1) < 5


def test_a_damaged_file_says_what_to_do(tmp_path):
    (tmp_path / "g.sqlite").write_bytes(b"no database" * 300)
    with pytest.raises(StorageError, match="to pace requests"):
        MachinePace(tmp_path / "g.sqlite", "graph", 60)
