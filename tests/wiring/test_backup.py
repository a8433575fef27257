"""The backup asset and `citysplat restore`, against a real S3 server."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from citysplat_dagster.cli import main
from tests.wiring.conftest import TinyCity


def files_of(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


@pytest.fixture
def backed_up(city: TinyCity, s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> TinyCity:
    monkeypatch.setenv("CITYSPLAT_S3_KEY_ID", s3_server.key_id)
    monkeypatch.setenv("CITYSPLAT_S3_SECRET", s3_server.secret)
    with (city.root / "city.toml").open("a") as stream:
        stream.write(
            f'\n[backup]\nendpoint_url = "{s3_server.endpoint_url}"\n'
            f'bucket = "{s3_server.bucket}"\nprefix = "{city.root.name}"\n'
        )
    city.run_all()
    for box in city.boxes():
        assert city.run("backup_box", box).success
    return city


def test_a_lost_city_comes_back_byte_for_byte(backed_up: TinyCity) -> None:
    before = files_of(backed_up.root / "artifacts")
    plan = (backed_up.root / "plan.json").read_bytes()
    shutil.rmtree(backed_up.root / "artifacts")
    (backed_up.root / "plan.json").unlink()
    done = CliRunner().invoke(main, ["restore", "--city", str(backed_up.root)])
    assert done.exit_code == 0, done.output
    assert files_of(backed_up.root / "artifacts") == before
    assert (backed_up.root / "plan.json").read_bytes() == plan


def test_one_box_comes_back_and_the_others_stay_lost(backed_up: TinyCity) -> None:
    box, other = backed_up.boxes()[:2]
    shutil.rmtree(backed_up.root / "artifacts" / "splat")
    done = CliRunner().invoke(main, ["restore", "--city", str(backed_up.root), "--box", box])
    assert done.exit_code == 0, done.output
    assert (backed_up.root / "artifacts" / "splat" / box / "current").is_file()
    assert not (backed_up.root / "artifacts" / "splat" / other).exists()


def test_a_second_backup_sends_nothing(backed_up: TinyCity) -> None:
    result = backed_up.run("backup_box", backed_up.boxes()[0])
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["objects_moved"].value == 0
    assert metadata["objects_present"].value > 0


def test_restoring_a_box_that_was_never_backed_up_says_so(backed_up: TinyCity) -> None:
    shutil.rmtree(backed_up.root / "artifacts")
    with (backed_up.root / "city.toml").open("r+") as stream:
        text = stream.read().replace(f'prefix = "{backed_up.root.name}"', 'prefix = "nobody"')
        stream.seek(0)
        stream.write(text)
        stream.truncate()
    done = CliRunner().invoke(main, ["restore", "--city", str(backed_up.root)])
    assert done.exit_code == 2
    assert "the bucket holds nothing" in done.output
