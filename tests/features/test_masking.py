import cv2
import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.errors import FeatureError, ImageError
from citysplat_core.features import backend, extract_box_features
from citysplat_core.imagery.masks import mask_path
from citysplat_core.imagery.masks.files import MaskWriter
from citysplat_core.settings import FeatureSettings
from citysplat_core.storage import no_progress


def extract(tmp_path, box_images, tag, **settings):
    out, work = tmp_path / tag, tmp_path / "work"
    out.mkdir()
    work.mkdir(exist_ok=True)
    report = extract_box_features(
        "0213", box_images=box_images, out=out, work=work,
        settings=FeatureSettings().model_copy(update=settings),
        n_threads=1, progress=no_progress,
    )  # fmt: skip
    with pycolmap.Database.open(out / "features.db") as database:
        found = {
            key: (np.array(database.read_keypoints(key)), database.read_descriptors(key).data)
            for key in (41, 42)
        }
    return report, found, pd.read_parquet(out / "features.parquet")


def lower_half():
    ignored = np.zeros((120, 160), bool)
    ignored[60:] = True
    return ignored


def test_masked_places_give_no_keypoints_and_the_rest_stays_as_it_was(tmp_path, drawn_box):
    box = drawn_box(2)
    _, plain, _ = extract(tmp_path, box, "plain")
    MaskWriter(box).write("photo0", lower_half())
    report, masked, table = extract(tmp_path, box, "masked")
    keypoints, descriptors = plain[41]
    kept = keypoints[:, 1] < 60
    assert 20 < kept.sum() < len(kept) - 20
    np.testing.assert_array_equal(masked[41][0], keypoints[kept])
    np.testing.assert_array_equal(masked[41][1], descriptors[kept])
    np.testing.assert_array_equal(masked[42][0], plain[42][0])
    assert report.counts["n_keypoints_masked"] == (~kept).sum()
    assert table["n_keypoints"].tolist() == [kept.sum(), len(plain[42][0])]
    assert report.counts["n_keypoints"] == table["n_keypoints"].sum()


def test_a_run_that_goes_on_after_a_kill_masks_what_was_done_before(tmp_path, drawn_box):
    box = drawn_box(2)
    MaskWriter(box).write("photo0", lower_half())
    first, _, _ = extract(tmp_path, box, "killed")
    again, found, _ = extract(tmp_path, box, "again")  # the same work folder: nothing to extract
    assert again.counts == first.counts
    assert first.counts["n_keypoints_masked"] > 0
    assert (found[41][0][:, 1] < 60).all()


def test_masks_hold_for_every_backend(tmp_path, drawn_box, monkeypatch):
    class Grid:
        """Keypoints every ten pixels, in two columns as hloc's."""

        kinds = ("sift",)

        def extract(self, database, photos, names, *, settings, n_threads):
            del photos, settings, n_threads
            x, y = np.meshgrid(np.arange(5.5, 160, 10), np.arange(5.5, 120, 10))
            points = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
            data = np.arange(len(points), dtype=np.uint8)[:, None].repeat(128, axis=1)
            kind = pycolmap.FeatureExtractorType.SIFT
            with pycolmap.Database.open(database) as opened:
                for name in names:
                    key = opened.read_image_with_name(name).image_id
                    opened.write_keypoints(key, points)
                    opened.write_descriptors(key, pycolmap.FeatureDescriptors(kind, data))

    monkeypatch.setitem(backend.BACKENDS, "grid", lambda _: Grid())
    box = drawn_box(2)
    MaskWriter(box).write("photo1", lower_half())
    _, found, table = extract(tmp_path, box, "grid", backend="grid")
    assert table["n_keypoints"].tolist() == [192, 96]
    assert found[42][0][:, 1].max() == 55.5
    np.testing.assert_array_equal(found[42][1][:, 0], np.arange(96))


def test_a_photo_that_is_masked_whole_keeps_an_empty_row(tmp_path, drawn_box):
    box = drawn_box(2)
    MaskWriter(box).write("photo0", np.ones((120, 160), bool))
    report, found, table = extract(tmp_path, box, "out")
    assert table["n_keypoints"].tolist()[0] == 0
    assert found[41][0].shape[0] == found[41][1].shape[0] == 0
    assert report.counts["n_featureless"] == 1


def test_a_box_that_is_masked_whole_is_an_error(tmp_path, drawn_box):
    box = drawn_box(1)
    MaskWriter(box).write("photo0", np.ones((120, 160), bool))
    with pytest.raises(FeatureError, match="none of 1 photos gave a keypoint"):
        extract(tmp_path, box, "out")


def test_a_damaged_mask_is_an_error(tmp_path, drawn_box):
    box = drawn_box(2)
    mask_path(box, "photo0").parent.mkdir()
    mask_path(box, "photo0").write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"photo0\.jpg\.png cannot be read"):
        extract(tmp_path, box, "out")


def test_keypoints_on_a_static_banner_vanish_with_its_mask(tmp_path, drawn_box):
    """The banner gives the same keypoints in every photo: pairs that agree on standing still."""
    box = drawn_box(2)
    for name in ("photo0", "photo1"):
        path = str(box / "photos" / f"{name}.jpg")
        photo = cv2.imread(path)
        photo[100:] = 30
        cv2.putText(photo, "DASHCAM 12 km/h", (2, 115), 0, 0.55, (240, 240, 240), 1, cv2.LINE_AA)
        cv2.imwrite(path, photo, [cv2.IMWRITE_JPEG_QUALITY, 95])
    _, plain, _ = extract(tmp_path, box, "plain")
    assert same_places(plain) > 15
    banner = np.zeros((120, 160), bool)
    banner[98:] = True
    for name in ("photo0", "photo1"):
        MaskWriter(box).write(name, banner)
    _, masked, _ = extract(tmp_path, box, "masked")
    assert same_places(masked) <= 2


def same_places(found):
    """Keypoints of the first photo that the second has at the same place, with the same look."""
    (a, looks_a), (b, looks_b) = found[41], found[42]
    near = np.linalg.norm(a[:, None, :2] - b[None, :, :2], axis=2) < 1.0
    like = looks_a.astype(float) @ looks_b.astype(float).T / 512**2 > 0.9
    return int((near & like).any(axis=1).sum())
