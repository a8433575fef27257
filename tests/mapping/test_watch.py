import json
import re
import time

import pytest

from citysplat_core.mapping import read_registered, solve_box
from citysplat_core.mapping.watch import Watch
from citysplat_core.settings import MappingSettings


@pytest.fixture
def solve(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street(n_photos=30))

    def run(pause_s=0.0, **settings):
        out, told = fresh("out"), []

        def progress(*row):
            told.append(row)
            time.sleep(pause_s)

        report = solve_box(
            "030",
            **artifacts.inputs("030"),
            out=out,
            work=fresh("work"),
            settings=MappingSettings(**settings),
            n_threads=1,
            progress=progress,
        )
        return report, out, told

    return run


def attempt(out):
    return json.loads((out / "report.json").read_text())["attempts"][0]


def test_a_limit_is_told_once_and_stays():
    watch = Watch(max_runtime_s=-1)
    assert watch.must_stop()
    assert watch.stopped == "stopped at max_runtime_s = -1"
    assert not Watch(60).must_stop()
    watch = Watch(60)
    watch.go_on_after(55)
    assert not watch.must_stop()
    assert 4 < watch.left_s <= 5
    watch.go_on_after(61)
    assert watch.must_stop()
    assert watch.left_s == 0
    assert Watch(60, max_memory_mb=1).must_stop()
    assert not Watch(60, max_memory_mb=10**9).must_stop()


@pytest.mark.parametrize("strategy", ["incremental", "geographic"])
def test_what_was_solved_below_the_memory_limit_is_used(solve, monkeypatch, strategy):
    looks = iter([100.0] * 12)
    monkeypatch.setattr("citysplat_core.mapping.watch.BEAT_S", 0.0)
    monkeypatch.setattr("citysplat_core.mapping.watch._memory_mb", lambda _: next(looks, 900.0))
    # COLMAP can be stopped after its first second, in which a fast machine solves this street
    report, out, _ = solve(pause_s=0.1, strategy=strategy, max_memory_mb=500)
    assert not report.skipped
    assert 10 <= len(read_registered(out)) < 30
    assert attempt(out)["stopped"] == "stopped at 900 MiB, more than max_memory_mb = 500"


@pytest.mark.parametrize(
    ("runtime_s", "memory_mb", "reason"),
    [
        (600, 10, r"\(global: stopped at \d+ MiB, more than max_memory_mb = 10\)"),
        (0.1, 0, r"\(global: stopped at max_runtime_s = 0.1\)"),
    ],
)
def test_the_global_mapper_is_ended_at_its_limits(solve, monkeypatch, runtime_s, memory_mb, reason):
    monkeypatch.setattr("citysplat_core.mapping.mappers.BEAT_S", 0.05)
    monkeypatch.setattr("citysplat_core.mapping.watch.BEAT_S", 0.05)
    monkeypatch.setattr(
        "citysplat_core.mapping.strategy.Watch", lambda _, __: Watch(runtime_s, memory_mb)
    )
    report, out, told = solve(strategy="global")
    assert re.search(reason, report.skipped)
    assert attempt(out)["stopped"] in report.skipped
    assert any(text == "global: 0 photos" for _, _, text in told)


def test_photos_points_and_residual_are_told_while_it_runs(solve):
    _, _, told = solve(strategy="incremental")
    assert told[1][:2] == (3, 30)
    assert told[1][2].startswith("incremental: 3 photos, ")
    assert told[1][2].endswith(" px")
