"""The built page that is shipped with the package."""

import json
import re
from pathlib import Path

import pytest

from citysplat_core.city.viewer import copy_viewer
from citysplat_core.errors import ViewerError

PACKAGE = Path(__file__).parents[2] / "citysplat_core" / "city" / "viewer_dist"
SOURCE = Path(__file__).parents[2] / "viewer"


def built_text(name):
    return (PACKAGE / name).read_text(encoding="utf-8")


def test_the_page_is_copied_whole(tmp_path):
    names = copy_viewer(tmp_path)
    assert {"index.html", "THIRD_PARTY_LICENSES", "assets/main.js", "assets/main.css"} <= set(names)
    assert all((tmp_path / name).read_bytes() == (PACKAGE / name).read_bytes() for name in names)


def test_a_package_without_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("citysplat_core.city.viewer.files", lambda _: tmp_path)
    with pytest.raises(ViewerError, match=r"no index\.html; expected the built viewer"):
        copy_viewer(tmp_path / "out")


def test_every_bundled_package_has_its_licence():
    text = built_text("THIRD_PARTY_LICENSES")
    dependencies = json.loads((SOURCE / "package.json").read_text())["dependencies"]
    for name, version in dependencies.items():
        assert f"{name} {version}" in text
    lock = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    bundled = [
        path.removeprefix("node_modules/").split("node_modules/")[-1]
        for path, entry in lock.items()
        if path and not entry.get("dev") and not path.startswith("node_modules/@types/")
    ]
    assert bundled
    assert [name for name in bundled if f"\n{name} " not in text] == []
    assert text.count("MIT License") >= 2
    assert "Redistribution and use in source and binary forms" in text


def test_the_page_loads_nothing_from_elsewhere():
    page = built_text("index.html")
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sorted(loaded) == ["ATTRIBUTION.md", "assets/main.css", "assets/main.js", "data:,"]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert "default-src 'none'" in policy
    assert "http" not in policy
    sheets = re.findall(r"url\(\s*[\"']?([a-z:]{0,6})", built_text("assets/main.css"))
    assert set(sheets) <= {"data:i"}
    for file in PACKAGE.glob("assets/*.*js"):
        text = file.read_text(encoding="utf-8")
        assert not re.findall(r"(?:import|from|import\()\s*[\"'`]https?:", text), file.name
        assert not re.findall(r"(?:fetch|importScripts|new Worker)\([\"'`]https?:", text), file.name


def test_the_lock_file_names_no_registry():
    lock = (SOURCE / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert "registry" not in lock
