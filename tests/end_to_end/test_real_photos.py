"""A real walk along a street, through the folder source, from photos to the page."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

CITYSPLAT = str(Path(sys.executable).with_name("citysplat"))
SHORT = "[splat]\niterations = 200\nwidth_px = 256\nmax_gaussians = 15000\n"


def test_a_street_in_lund_becomes_a_city(tmp_path: Path, real_data: Path) -> None:
    source = real_data / "lund_street"
    city = tmp_path / "lund"
    command = [CITYSPLAT, "init", str(city), "--area", "13.193,55.697,13.198,55.700"]
    command += ["--photos", str(source), "--positions", str(source / "metadata.csv")]
    subprocess.run(command, check=True)
    with (city / "city.toml").open("a") as stream:
        stream.write(SHORT + "[boxes]\nmin_zoom = 17\nmax_zoom = 17\n")
    done = subprocess.run([CITYSPLAT, "run", "--city", str(city)], check=False)
    assert done.returncode == 0
    values = json.loads((city / "summary.json").read_text())
    assert values["images_found"] == 29
    assert values["registered"] >= 26  # stock incremental mapping registers 2
    assert values["gps_residual_m"]["median"] < 6.0
    assert values["splats"] >= 1
