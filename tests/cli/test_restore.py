"""`citysplat restore` from a real S3 server into an empty folder."""

import uuid
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from citysplat_core.imagery import IdentityRegistry
from citysplat_core.storage import ArtifactStore, StepReport
from citysplat_core.storage.backup import backup_artifacts
from citysplat_core.storage.object_store import ObjectStore
from citysplat_dagster.cli import main

CITY = """
name = "Lund"
area = "13.19,55.69,13.21,55.71"

[frame]
origin_lon = 13.2
origin_lat = 55.7

[backup]
endpoint_url = "{endpoint_url}"
bucket = "{bucket}"
prefix = "{prefix}"
"""
CATALOG = pd.DataFrame({"image_id": ["a", "b"], "colmap_id": [3, 7]})
BOXES = ("120220013203120", "120220013203121")


def make(root: Path, asset: str, partition: str, name: str, text: bytes):
    def build(out: Path, work: Path) -> StepReport:
        del work
        if name.endswith(".parquet"):
            CATALOG.to_parquet(out / name)
        else:
            (out / name).write_bytes(text)
        return StepReport()

    return ArtifactStore(root).produce(
        asset, partition, step_version="1", settings={}, inputs={}, build=build
    )


@pytest.fixture
def city(s3_server, tmp_path, monkeypatch):
    """A city file whose bucket holds two boxes, their fringe, the catalog and the plan."""
    prefix = uuid.uuid4().hex
    monkeypatch.setenv("CITYSPLAT_S3_KEY_ID", s3_server.key_id)
    monkeypatch.setenv("CITYSPLAT_S3_SECRET", s3_server.secret)
    here = tmp_path / "here"
    made = [make(here, "splat", box, "splat.ply", box.encode() * 1000) for box in BOXES]
    made.append(make(here, "fringe_matches", "--".join(BOXES), "pairs", b"pairs"))
    made.append(make(here, "image_catalog", "", "catalog.parquet", b""))
    made.append(make(here, "box_plan", "", "plan.json", b"{}"))
    store = ObjectStore(
        endpoint_url=s3_server.endpoint_url,
        bucket=s3_server.bucket,
        key_id=s3_server.key_id,
        secret=s3_server.secret,
        prefix=prefix,
    )
    backup_artifacts(made, store)
    root = tmp_path / "there"
    root.mkdir()
    text = CITY.format(endpoint_url=s3_server.endpoint_url, bucket=s3_server.bucket, prefix=prefix)
    (root / "city.toml").write_text(text)
    return root


def restore(city: Path, *arguments: str) -> Result:
    command = ["restore", "--city", str(city), *arguments]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def test_a_whole_city_comes_back_and_keeps_its_image_numbers(city, tmp_path):
    result = restore(city)
    assert result.exit_code == 0, result.output
    assert "5 artifacts restored" in result.output
    for box in BOXES:
        back = ArtifactStore(city).need("splat", box)
        origin = ArtifactStore(tmp_path / "here").need("splat", box)
        for name in ("splat.ply", "manifest.json"):
            assert (back.path / name).read_bytes() == (origin.path / name).read_bytes()
    assert (city / "plan.json").read_bytes() == b"{}"
    registry = IdentityRegistry(city / "identity.sqlite")
    assert registry.issue(["a", "b", "c"]) == {"a": 3, "b": 7, "c": 8}


def test_one_box_comes_back_with_its_fringes_and_the_tables_of_the_city(city):
    assert restore(city, "--box", BOXES[0]).exit_code == 0
    store = ArtifactStore(city)
    assert store.partitions("splat") == [BOXES[0]]
    assert store.partitions("fringe_matches") == ["--".join(BOXES)]
    assert store.find("image_catalog") is not None


def test_a_second_restore_fetches_nothing(city):
    restore(city)
    assert "5 were there already" in restore(city).output


def test_a_wrong_key_is_one_line_and_status_two(city, monkeypatch):
    monkeypatch.setenv("CITYSPLAT_S3_SECRET", "wrong-secret")
    result = restore(city)
    assert result.exit_code == 2
    assert "refused the access key" in result.output
    assert "wrong-secret" not in result.output


def test_a_missing_key_is_one_line_and_status_two(city, monkeypatch):
    monkeypatch.delenv("CITYSPLAT_S3_SECRET")
    result = restore(city)
    assert result.exit_code == 2
    assert "the secret key not set" in result.output
