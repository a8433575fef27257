"""What a user sees of bad input: one clear error or a recorded skip, and the rest goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from citysplat_core.simulation.server import (
    LOCAL_TOKEN,
    ServerConfig,
    run_in_thread,
    synthetic_world,
)
from citysplat_core.simulation.server.synthetic_world import SyntheticSpec

CITYSPLAT = str(Path(sys.executable).with_name("citysplat"))
TOKEN = "MAPILLARY_TOKEN"  # noqa: S105
AREA = "13.189,55.690,13.193,55.692"


def citysplat(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CITYSPLAT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=280,
    )


def noise_photo(file: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 255, (30, 40, 3), np.uint8)
    big = cv2.resize(pixels, (320, 240), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(file), big)


@pytest.fixture
def folder_city(tmp_path: Path) -> Path:
    """Two boxes: one with 6 photos of noise, one with 2; one file is cut off, one unplaced."""
    photos = tmp_path / "photos"
    photos.mkdir()
    rows = ["id,file,lon,lat"]
    for i in range(7):
        noise_photo(photos / f"{i}.jpg", i)
        rows.append(f"p{i},{i}.jpg,{13.1900 + 0.00002 * i},55.6905")
    for i in (7, 8):
        noise_photo(photos / f"{i}.jpg", i)
        rows.append(f"p{i},{i}.jpg,{13.1922 + 0.00002 * i},55.6905")
    whole = (photos / "6.jpg").read_bytes()
    (photos / "6.jpg").write_bytes(whole[: len(whole) // 2])
    noise_photo(photos / "9.jpg", 9)
    rows.append("p9,9.jpg,,")
    (photos / "positions.csv").write_text("\n".join(rows))
    city = tmp_path / "city"
    command = ["init", city, "--area", AREA, "--photos", photos]
    made = citysplat(*command, "--positions", photos / "positions.csv")
    assert made.returncode == 0, made.stderr
    with (city / "city.toml").open("a") as stream:
        stream.write("\n[boxes]\nmin_zoom = 18\nmax_zoom = 18\n")
    return city


def test_bad_photos_and_a_box_of_two_are_recorded_and_the_city_is_published(
    folder_city: Path,
) -> None:
    done = citysplat("run", "--city", folder_city, "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads((folder_city / "summary.json").read_text())
    assert values["images_found"] == 9
    assert values["images_used"] == 8
    assert values["boxes"] == 2
    assert values["registered"] == 0
    assert values["failed"] == {}
    assert len([k for k in values["skipped"] if k.startswith("sparse_model")]) == 2
    status = citysplat("status", "--city", folder_city)
    assert "skipped" in status.stdout
    tiles = folder_city / "artifacts" / "city_tiles" / "_"
    page = tiles / (tiles / "current").read_text().strip() / "city.json"
    boxes = json.loads(page.read_text())["boxes"]
    assert {b["state"] for b in boxes} == {"skipped"}
    assert all(b["reason"] for b in boxes)


def test_an_area_without_photos_is_one_clear_error(folder_city: Path) -> None:
    text = (folder_city / "city.toml").read_text()
    (folder_city / "city.toml").write_text(text.replace(AREA, "14.0,56.0,14.01,56.01"))
    done = citysplat("run", "--city", folder_city, "--workers", "1")
    assert done.returncode == 1
    assert "tile_ledger" in done.stdout
    assert "no photo" in done.stdout.lower() or "no image" in done.stdout.lower()
    assert "Traceback" not in done.stdout + done.stderr


def test_a_wrong_token_stops_at_once_and_names_no_token(tmp_path: Path) -> None:
    world = synthetic_world(SyntheticSpec(n_images=30))
    config = ServerConfig(token="MLY|1|another")  # noqa: S106
    with run_in_thread(world, config) as server:
        city = tmp_path / "city"
        assert citysplat("init", city, "--area", "8.530,47.365,8.550,47.385").returncode == 0
        text = (city / "city.toml").read_text()
        urls = f'tiles_url = "{server.url}"\ngraph_url = "{server.url}"\n'
        (city / "city.toml").write_text(text.replace("[source]\n", "[source]\n" + urls))
        done = citysplat("run", "--city", city, "--workers", "1", **{TOKEN: "MLY|2|mine"})
    assert done.returncode == 1
    assert "token" in done.stdout.lower()
    written = b"".join(p.read_bytes() for p in city.rglob("*") if p.is_file())
    for secret in ("MLY|2|mine", LOCAL_TOKEN):
        assert secret.encode() not in written
        assert secret not in done.stdout + done.stderr


def test_mapillary_without_a_token_says_where_to_get_one(tmp_path: Path) -> None:
    city = tmp_path / "city"
    assert citysplat("init", city, "--area", AREA).returncode == 0
    done = citysplat("run", "--city", city, "--workers", "1", **{TOKEN: ""})
    assert done.returncode == 1
    assert "MAPILLARY_TOKEN" in done.stdout
