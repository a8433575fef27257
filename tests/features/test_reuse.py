"""A box that gets new photos extracts those only."""

import logging
import sqlite3
from contextlib import closing

import cv2
import numpy as np
import pandas as pd
import pytest

from citysplat_core.features import drop_descriptors, extract_box_features, extraction
from citysplat_core.features.sift import SiftBackend
from citysplat_core.imagery.masks.files import MaskWriter
from citysplat_core.settings import FeatureSettings
from citysplat_core.storage import ArtifactStore, no_progress, write_json


@pytest.fixture
def extracted(monkeypatch):
    """Names of the photos that were really extracted."""
    seen = []
    extract = SiftBackend.extract

    def spy(self, database, photos, names, **options):
        seen.extend(names)
        extract(self, database, photos, names, **options)

    monkeypatch.setattr(SiftBackend, "extract", spy)
    return seen


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path)


def run(store, images, *, earlier=True, progress=no_progress, **settings):
    found = store.find("box_features", "0213") if earlier else None
    return store.produce(
        "box_features", "0213", step_version="1", settings=settings,
        inputs={"images": images.name, "earlier": str(earlier)},
        build=lambda out, work: extract_box_features(
            "0213", box_images=images, out=out, work=work, settings=FeatureSettings(**settings),
            n_threads=1, progress=progress, earlier=found.path if found else None,
        ),
    )  # fmt: skip


def rows_of(artifact):
    with closing(sqlite3.connect(artifact.path / "features.db")) as connection:
        return [
            connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()  # noqa: S608
            for table in ("images", "cameras", "keypoints", "descriptors", "pose_priors")
        ]


def assert_same(one, other):
    assert rows_of(one) == rows_of(other)
    tables = [pd.read_parquet(a.path / "features.parquet") for a in (one, other)]
    pd.testing.assert_frame_equal(*tables)
    names = ("n_keypoints", "n_keypoints_masked", "n_images")
    assert [one.counts[name] for name in names] == [other.counts[name] for name in names]


def lower_half():
    ignored = np.zeros((120, 160), bool)
    ignored[60:] = True
    return ignored


def test_only_new_photos_are_extracted_and_the_result_is_the_same(store, drawn_box, extracted):
    few, many = drawn_box(3, name="few"), drawn_box(5, name="many")
    for box in (few, many):
        MaskWriter(box).write("photo1", lower_half())
    run(store, few)
    extracted.clear()
    second = run(store, many)
    assert extracted == ["photo3.jpg", "photo4.jpg"]
    assert second.counts["n_reused"] == 3
    assert second.counts["n_keypoints_masked"] > 0
    assert_same(second, run(store, many, earlier=False))


def test_a_photo_with_another_picture_or_mask_is_extracted_again(store, drawn_box, extracted):
    first, second = drawn_box(3, name="first"), drawn_box(3, name="second")
    run(store, first)
    extracted.clear()
    photo = second / "photos" / "photo0.jpg"
    cv2.imwrite(str(photo), cv2.imread(str(photo))[::-1])
    MaskWriter(second).write("photo2", lower_half())
    again = run(store, second)
    assert extracted == ["photo0.jpg", "photo2.jpg"]
    assert_same(again, run(store, second, earlier=False))


def test_other_settings_extract_all_again_and_other_positions_none(store, drawn_box, extracted):
    box = drawn_box(3)
    run(store, box)
    extracted.clear()
    run(store, box, prior_std_m=9.0)
    assert not extracted
    assert run(store, box, max_features=200).counts["n_reused"] == 0
    assert len(extracted) == 3


def test_a_kill_keeps_what_was_taken_over(store, drawn_box, extracted, monkeypatch):
    monkeypatch.setattr(extraction, "CHUNK_SIZE", 1)
    few, many = drawn_box(2, name="few"), drawn_box(5, name="many")
    run(store, few)
    extracted.clear()

    def stop_later(done, total, note):
        if done >= 4:
            raise KeyboardInterrupt(f"{done} of {total} {note}")

    with pytest.raises(KeyboardInterrupt, match="4 of 5"):
        run(store, many, progress=stop_later)
    again = run(store, many)
    assert extracted == ["photo2.jpg", "photo3.jpg", "photo4.jpg"]
    assert again.counts["n_reused"] == 2


@pytest.mark.parametrize("name", ["features.db", "features.parquet"])
def test_a_damaged_earlier_version_is_said_and_all_is_extracted(store, drawn_box, caplog, name):
    few, many = drawn_box(2, name="few"), drawn_box(3, name="many")
    path = run(store, few).path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING, logger="citysplat_core"):
        assert run(store, many).counts["n_reused"] == 0
    assert f"{name} is damaged" in caplog.text


def test_a_version_without_descriptors_gives_none(store, drawn_box, extracted):
    few, many = drawn_box(2, name="few"), drawn_box(3, name="many")
    drop_descriptors(run(store, few).path)
    extracted.clear()
    assert run(store, many).counts["n_reused"] == 0
    assert len(extracted) == 3


def test_a_version_that_does_not_say_what_it_was_made_of_gives_none(store, drawn_box):
    few, many = drawn_box(2, name="few"), drawn_box(3, name="many")
    made = run(store, few)
    old = pd.read_parquet(made.path / "features.parquet")[["image_id", "colmap_id", "n_keypoints"]]
    old.to_parquet(made.path / "features.parquet")
    manifest = made.manifest
    del manifest["files"]["features.parquet"]
    write_json(made.path / "manifest.json", manifest)
    assert run(store, many).counts["n_reused"] == 0
