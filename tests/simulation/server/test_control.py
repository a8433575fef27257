import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from citysplat_core.simulation.server import (
    SyntheticSpec,
    read_world,
    synthetic_world,
    world_schema,
)


def test_an_unknown_setting_changes_nothing(ask):
    reply = ask.control("config", url_ttl_s=5.0, nonsense=1)
    assert reply.status == 400
    assert b"nonsense" in reply.body
    assert ask.server.state.config.url_ttl_s == 388_800.0


def test_a_setting_of_the_wrong_type_is_refused(ask):
    assert ask.control("config", max_ids="many").status == 400


def test_the_clock_does_not_go_back(ask):
    assert ask.control("clock", advance_s=-1).status == 400


def test_an_unknown_fault_is_refused(ask):
    assert b"unknown fault" in ask.control("script", kind="fire").body


def test_added_images_may_be_older_than_existing_ones(ask):
    before = set(ask.ids)
    added = ask.control("add", n=20, seed=3, after_ms=1_500_000_000_000).json["ids"]
    assert len(added) == 20
    assert not before & set(added)
    entity = ask.graph(f"/{added[0]}", fields="captured_at").json
    assert entity["captured_at"] < 1_500_200_000_000


def test_the_same_spec_gives_the_same_world():
    spec = SyntheticSpec(n_images=200)
    one, two = synthetic_world(spec), synthetic_world(spec)
    for name, values in one.columns.items():
        np.testing.assert_array_equal(values, two.columns[name])


def test_most_ids_are_too_large_for_a_float():
    ids = synthetic_world(SyntheticSpec(n_images=2000)).columns["image_id"]
    assert np.mean(ids > 2**53) > 0.85


def test_a_world_file_is_read_with_its_gaps(tmp_path):
    row = dict.fromkeys(world_schema().names) | {
        "image_id": 2**60 + 1, "lon": 8.5, "lat": 47.3, "captured_at": 1_600_000_000_000,
        "sequence": "s", "width": 640, "height": 480, "camera_type": "perspective",
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row], world_schema()), tmp_path / "world.parquet")
    world = read_world(tmp_path / "world.parquet")
    assert world.live_row(str(2**60 + 1)) == 0
    assert np.isnan(world.columns["altitude"][0])
    assert not world.has_sfm[0]


def test_the_command_line_serves_a_world_until_it_is_interrupted(tmp_path):
    command = [sys.executable, "-m", "citysplat_core.simulation.server", "--port", "0",
               "--images", "30", "--image-dir", str(tmp_path), "--set", "max_ids=3"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert "http://127.0.0.1:" in line
    assert "MLY|" in line


def test_the_command_line_refuses_an_unknown_setting():
    command = [sys.executable, "-m", "citysplat_core.simulation.server", "--set", "nonsense=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "nonsense" in done.stderr


@pytest.mark.parametrize("index", [0, 5])
def test_stats_count_requests(ask, index):
    ask.graph(f"/{ask.ids[index]}")
    assert ask.control("stats").json["graph"] == 1
