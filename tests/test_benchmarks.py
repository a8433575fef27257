"""The acquisition benchmark runs on a tiny size; its peers where they are installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
KEYS = (
    *("metadata_cpu_ratio", "metadata_rate_ratio", "photo_cpu_ratio", "tile_decode_ratio"),
    *("quality_images_per_cpu_s", "plan_seconds_1200k", "plan_rss_mb_1200k"),
)

pytestmark = pytest.mark.slow


def measure(*options: str) -> dict[str, object]:
    command = [sys.executable, str(BENCHMARKS / "acquisition.py"), "--quick", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    values: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(KEYS) <= set(values)
    return values


def rights(values: dict[str, object]) -> dict[str, tuple[int, int]]:
    figures = values["figures"]
    assert isinstance(figures, dict)
    return {f["client"]: (f["right"], f["asked"]) for table in figures.values() for f in table}


def test_our_own_figures_are_of_whole_outcomes() -> None:
    values = measure("--no-peers", "--only", "metadata", "photos", "tiles")
    ours = {c: r for c, r in rights(values).items() if c.startswith("CitySplat")}
    assert len(ours) == 6
    assert all(right == asked > 0 for right, asked in ours.values())
    assert values["metadata_cpu_ratio"] is None, "a ratio without a peer"


def test_the_peers_bring_what_they_are_asked_for() -> None:
    if len(list(BENCHMARKS.glob(".peers/*/complete"))) < 4:
        pytest.skip("the peers are not installed: run benchmarks/acquisition.py once")
    values = measure("--only", "metadata", "photos", "tiles")
    assert all(right == asked > 0 for right, asked in rights(values).values())
    assert all(isinstance(values[key], float) for key in KEYS[:4])
