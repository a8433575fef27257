"""Weights are brought before the boxes, where a city names any, and are backed up with them."""

import hashlib
import shutil
from typing import Any

import pytest
from click.testing import CliRunner

from citysplat_core.geography import load_plan
from citysplat_dagster.cli import main
from citysplat_dagster.tasks import tasks_of
from tests.wiring.conftest import TinyCity

NET = b"numbers of a network" * 100


@pytest.fixture
def with_net(city: TinyCity) -> TinyCity:
    """A city that takes one file of weights from a folder."""
    (city.root / "usb").mkdir()
    (city.root / "usb" / "net.pth").write_bytes(NET)
    with (city.root / "city.toml").open("a") as stream:
        stream.write(
            '\n[weights]\nuse = ["net"]\noffline_folder = "usb"\n[weights.models.net]\n'
            'url = "https://example.org/net.pth"\nlicence = "MIT"\n'
            f'sha256 = "{hashlib.sha256(NET).hexdigest()}"\n'
        )
    assert city.run("discover_city").success
    return city


def test_weights_come_before_the_boxes_if_the_city_names_any(with_net: TinyCity) -> None:
    plan = load_plan(with_net.root / "plan.json")
    first, *others = tasks_of(plan, with_weights=True)
    assert first.name == "bring_weights"
    assert all("bring_weights" in t.after for t in others if t.job == "prepare_box")
    assert not [t for t in tasks_of(plan) if t.job == "bring_weights"]
    assert with_net.run("bring_weights").success
    files = with_net.resource().need("model_weights").path
    assert (files / "hub" / "checkpoints" / "net.pth").read_bytes() == NET


def test_weights_come_back_from_the_backup(
    with_net: TinyCity, s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYSPLAT_S3_KEY_ID", s3_server.key_id)
    monkeypatch.setenv("CITYSPLAT_S3_SECRET", s3_server.secret)
    with (with_net.root / "city.toml").open("a") as stream:
        stream.write(
            f'\n[backup]\nendpoint_url = "{s3_server.endpoint_url}"\n'
            f'bucket = "{s3_server.bucket}"\nprefix = "weights"\n'
        )
    assert with_net.run("bring_weights").success
    assert with_net.run("backup_box", with_net.boxes()[0]).success
    shutil.rmtree(with_net.root / "artifacts" / "model_weights")
    done = CliRunner().invoke(main, ["restore", "--city", str(with_net.root)])
    assert done.exit_code == 0, done.output
    files = with_net.resource().need("model_weights").path
    assert (files / "hub" / "checkpoints" / "net.pth").read_bytes() == NET
