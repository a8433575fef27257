"""The small demo as a user runs it, killed on the way and run again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

CITYSPLAT = str(Path(sys.executable).with_name("citysplat"))


def manifests(city: Path) -> dict[str, str]:
    return {
        str(m.parent.relative_to(city)): json.loads(m.read_text())["started_at"]
        for m in city.glob("artifacts/*/*/*/manifest.json")
    }


def kill_when(city: Path, pattern: str, count: int) -> None:
    """Start the demo and kill -9 its whole process group when enough artifacts are finished."""
    process = subprocess.Popen(
        [CITYSPLAT, "demo", "--small", "--out", str(city)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 1200
    while len(list(city.glob(pattern))) < count:
        assert process.poll() is None, "the demo ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_demo_goes_on_and_redoes_nothing(tmp_path: Path) -> None:
    city = tmp_path / "city"
    kill_when(city, "artifacts/box_features/*/current", 1)
    first = manifests(city)
    kill_when(city, "artifacts/sparse_model/*/current", 1)
    second = manifests(city)
    assert first.items() <= second.items()
    done = subprocess.run([CITYSPLAT, "demo", "--small", "--out", str(city)], check=False)
    assert done.returncode == 0
    last = manifests(city)
    assert second.items() <= last.items(), "finished work was made again"
    assert not list(city.rglob("*.part")), "a half-written artifact was left"
    values = json.loads((city / "summary.json").read_text())
    assert values["boxes"] >= 2
    assert values["fringes"] >= 1
    assert values["images_found"] == values["images_true"]
    assert values["registered"] >= 0.8 * values["images_used"]
    assert values["position_error_m"]["median"] < 5.0
    assert values["splats"] == values["boxes"]
    assert values["failed"] == {}
    assert (city / "report.html").is_file()
