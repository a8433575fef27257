import sqlite3
from contextlib import closing

import cv2
import numpy as np
import pytest

from citysplat_core.errors import FeatureError
from citysplat_core.features import extract_features


@pytest.fixture
def folder(tmp_path):
    """Five drawn photos, one of them blank and one in a folder below."""
    place = tmp_path / "my photos"
    (place / "walk").mkdir(parents=True)
    rng = np.random.default_rng(3)
    for name in ("a.jpg", "b.png", "blank.jpg", "walk/c.jpg", "walk/d.JPG"):
        noise = rng.integers(0, 255, (30, 40, 3)).astype(np.uint8)
        photo = cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(place / name), np.full_like(photo, 127) if "blank" in name else photo)
    (place / "notes.txt").write_text("no photo")
    return place


def counts(database):
    query = "SELECT name, rows FROM images JOIN keypoints USING (image_id) ORDER BY name"
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute(query))


def test_a_folder_of_photos_gets_a_database_with_features(tmp_path, folder):
    extract_features(tmp_path / "mine.db", folder)
    found = counts(tmp_path / "mine.db")
    assert list(found) == ["a.jpg", "b.png", "blank.jpg", "walk/c.jpg", "walk/d.JPG"]
    assert found["blank.jpg"] == 0
    assert min(n for name, n in found.items() if name != "blank.jpg") > 50


def test_a_killed_call_goes_on_with_the_photos_that_are_left(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("citysplat_core.features.extraction.CHUNK_SIZE", 2)

    def stop_later(done: int, _total: int, _unit: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_features(tmp_path / "mine.db", folder, progress=stop_later)
    told = []
    extract_features(tmp_path / "mine.db", folder, progress=lambda *said: told.append(said))
    assert told == [(2, 5, "photos"), (4, 5, "photos"), (5, 5, "photos")]
    extract_features(tmp_path / "whole.db", folder)
    assert counts(tmp_path / "mine.db") == counts(tmp_path / "whole.db")


def test_further_photos_are_added_to_a_database(tmp_path, folder):
    extract_features(tmp_path / "mine.db", folder, ["a.jpg"])
    extract_features(tmp_path / "mine.db", folder, ["a.jpg", "walk/c.jpg"])
    assert list(counts(tmp_path / "mine.db")) == ["a.jpg", "walk/c.jpg"]


def test_missing_broken_and_no_photos_are_errors(tmp_path, folder):
    with pytest.raises(FeatureError, match=r"1 of 2 photos are not on disk \(x.jpg\)"):
        extract_features(tmp_path / "mine.db", folder, ["a.jpg", "x.jpg"])
    (folder / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(FeatureError, match=r"1 of 6 photos cannot be read \(broken.jpg\)"):
        extract_features(tmp_path / "mine.db", folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FeatureError, match="holds no photos"):
        extract_features(tmp_path / "mine.db", tmp_path / "empty")
