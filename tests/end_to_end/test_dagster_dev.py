"""`citysplat dev` as a user runs it: webserver, daemon, and a box made from the UI's own API."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from citysplat_core.simulation.town_server import free_port
from citysplat_dagster.runner import Run, this_machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CITYSPLAT = str(Path(sys.executable).with_name("citysplat"))
ASSETS = """{assetNodes{assetKey{path} partitionStats{numPartitions numMaterialized}
  dependencies{asset{assetKey{path}} partitionMapping{className}}}}"""
BACKFILL = """mutation($p:LaunchBackfillParams!){launchPartitionBackfill(backfillParams:$p){
  __typename ...on LaunchBackfillSuccess{backfillId} ...on PythonError{message}}}"""
STATE = """query($id:String!){partitionBackfillOrError(backfillId:$id){
  ...on PartitionBackfill{status runs(limit:9){status}}}}"""


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder city of 12 photos over two boxes, planned but without photos."""
    root = tmp_path_factory.mktemp("city")
    rng = np.random.default_rng(5)
    (root / "photos").mkdir()
    rows = ["id,file,lon,lat"]
    for i in range(12):
        cv2.imwrite(str(root / f"photos/{i}.jpg"), rng.integers(0, 255, (120, 160, 3), np.uint8))
        rows.append(f"p{i},{i}.jpg,{13.1900 + 0.0002 * i},55.6905")
    (root / "photos" / "positions.csv").write_text("\n".join(rows))
    area = "13.189,55.690,13.193,55.691"
    command = [CITYSPLAT, "init", str(root), "--area", area, "--photos", str(root / "photos")]
    command += ["--positions", str(root / "photos/positions.csv")]
    subprocess.run(command, check=True)
    with (root / "city.toml").open("a") as stream:
        stream.write("\n[boxes]\nmin_zoom = 18\nmax_zoom = 18\n")
    return root


@pytest.fixture(scope="module")
def dagster(city: Path) -> Iterator[str]:
    from citysplat_core.settings import load_city

    run = Run(load_city(city), this_machine(1), lambda *_: None)
    assert run.discover().is_success
    port = free_port()
    server = subprocess.Popen(
        [CITYSPLAT, "dev", "--city", str(city), "--port", str(port)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/graphql"
    try:
        deadline = time.monotonic() + 300
        while not answers(url):
            assert server.poll() is None
            assert time.monotonic() < deadline
            time.sleep(1)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def answers(url: str) -> bool:
    try:
        return bool(ask(url, ASSETS)["assetNodes"])
    except OSError:
        return False


def ask(url: str, query: str, **variables: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        value = json.loads(answer.read())
    assert not value.get("errors"), value
    return value["data"]


def test_the_webserver_knows_every_mapping_across_borders(dagster: str) -> None:
    edges = {
        (node["assetKey"]["path"][0], edge["asset"]["assetKey"]["path"][0]): edge
        for node in ask(dagster, ASSETS)["assetNodes"]
        for edge in node["dependencies"]
    }
    for pair in (
        ("fringe_matches", "box_features"),
        ("sparse_model", "fringe_matches"),
        ("splat", "box_images"),
    ):
        assert edges[pair]["partitionMapping"]["className"] == "StaticPartitionMapping"


def test_a_box_is_made_by_a_backfill(dagster: str, city: Path) -> None:
    box = json.loads((city / "plan.json").read_text())["boxes"][0]["key"]
    wanted = {"assetSelection": [{"path": ["box_images"]}], "partitionNames": [box]}
    launched = ask(dagster, BACKFILL, p=wanted)["launchPartitionBackfill"]
    deadline = time.monotonic() + 300
    while True:
        state = ask(dagster, STATE, id=launched["backfillId"])["partitionBackfillOrError"]
        if state["status"] not in ("REQUESTED", "CANCELING"):
            break
        assert time.monotonic() < deadline
        time.sleep(1)
    assert state == {"status": "COMPLETED_SUCCESS", "runs": [{"status": "SUCCESS"}]}
    assert (city / "artifacts" / "box_images" / box / "current").is_file()
