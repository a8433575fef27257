import hashlib
import json

import pytest
from pydantic import ValidationError

from citysplat_core.errors import ConfigError, StorageError
from citysplat_core.features import collect_weights
from citysplat_core.settings import WeightSettings
from citysplat_core.storage import no_progress

BODY = b"weights" * 1000


def described(**changes):
    values = {
        "url": "https://models.example/release/net.pth",
        "sha256": hashlib.sha256(BODY).hexdigest(),
        "licence": "MIT",
    }
    return {**values, **changes}


def collect(tmp_path, settings, tag="out"):
    out = tmp_path / tag
    out.mkdir()
    report = collect_weights(
        root=tmp_path,
        folder=tmp_path / "cache",
        out=out,
        work=tmp_path,
        settings=settings,
        n_threads=1,
        progress=no_progress,
    )
    return out, report


@pytest.fixture
def usb(tmp_path):
    (tmp_path / "usb").mkdir()
    (tmp_path / "usb" / "net.pth").write_bytes(BODY)
    return "usb"


def test_a_described_model_comes_with_its_hash_and_licence_in_torchs_layout(tmp_path, usb):
    settings = WeightSettings(use=("net",), models={"net": described()}, offline_folder=usb)
    out, report = collect(tmp_path, settings)
    assert (out / "hub" / "checkpoints" / "net.pth").read_bytes() == BODY
    (model,) = json.loads((out / "models.json").read_text())["models"]
    assert model["licence"] == "MIT"
    assert model["size_bytes"] == len(BODY)
    assert report.counts == {"n_models": 1, "size_bytes": len(BODY)}
    assert not report.skipped


def test_the_next_version_needs_neither_network_nor_folder(tmp_path, usb):
    models = {"net": described()}
    collect(tmp_path, WeightSettings(use=("net",), models=models, offline_folder=usb))
    (tmp_path / "usb" / "net.pth").unlink()
    out, _ = collect(tmp_path, WeightSettings(use=("net",), models=models), tag="again")
    assert (out / "hub" / "checkpoints" / "net.pth").read_bytes() == BODY


def test_no_named_model_is_a_reason_and_no_error(tmp_path):
    out, report = collect(tmp_path, WeightSettings())
    assert report.skipped == "weights.use names no model"
    assert json.loads((out / "models.json").read_text())["models"] == []


def test_a_refused_licence_and_a_wrong_file_stop_the_step(tmp_path, usb):
    models = {"net": described(licence="CC BY-NC-SA 4.0", is_commercial=False)}
    settings = WeightSettings(use=("net",), models=models, offline_folder=usb)
    with pytest.raises(ConfigError, match="licence 'CC BY-NC-SA"):
        collect(tmp_path, settings)
    models = {"net": described(sha256="0" * 64)}
    settings = WeightSettings(use=("net",), models=models, offline_folder=usb)
    with pytest.raises(StorageError, match=r"net\.pth has sha256"):
        collect(tmp_path, settings, tag="wrong")


def test_two_models_of_one_file_name_are_refused(tmp_path, usb):
    models = {"a": described(), "b": described()}
    settings = WeightSettings(use=("a", "b"), models=models, offline_folder=usb)
    with pytest.raises(ConfigError, match=r"two models have the file name net\.pth"):
        collect(tmp_path, settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"use": ("none",)}, r"no model 'none' is described; known: vocab-tree-256k"),
        ({"models": {"net": described(url="ftp://x/y")}}, "url"),
        ({"models": {"net": described(sha256="12")}}, "sha256"),
        ({"models": {"net": described(licence="")}}, "licence"),
    ],
)
def test_a_wrong_description_is_refused_before_any_work(values, message):
    with pytest.raises(ValidationError, match=message):
        WeightSettings(**values)
