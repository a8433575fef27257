import cv2
import numpy as np
import pytest

from citysplat_core.errors import ConfigError
from citysplat_core.imagery.masks import mask_path, read_mask
from citysplat_core.imagery.masks.combine import make_masks
from citysplat_core.imagery.masks.detections import Detection
from citysplat_core.settings import MaskSettings
from citysplat_core.simulation.server.detections import outline_text
from citysplat_core.storage import StepReport, no_progress

LEFT_HALF = outline_text(np.array([[0, 0], [0.5, 0], [0.5, 1], [0, 1]]))


class Plain:
    """A source without detections."""

    name = "folder"


class Detecting(Plain):
    """A source that says what it is told to."""

    name = "mapillary"

    def __init__(self, **said):
        self.said, self.asked = said, []

    def fetch_detections(self, image_ids, *, progress):
        progress(0, len(image_ids), "detections")
        self.asked += image_ids
        return {image_id: self.said[image_id] for image_id in image_ids}


@pytest.fixture
def make(tmp_path):
    out = tmp_path / "out"
    out.mkdir()

    def run(photos, source=None, *, model_file=None, threads=2, **settings):
        report = make_masks(
            out,
            photos,
            source=source or Plain(),
            settings=MaskSettings(**settings),
            model_file=model_file,
            n_threads=threads,
            progress=no_progress,
        )
        return report, out

    return run


@pytest.fixture
def noisy(box_photo):
    """Photos of noise, with rows as given."""

    def photos(*names, **row):
        rng = np.random.default_rng(0)
        size = (48, 64, 3)
        return [box_photo(n, rng.integers(0, 255, size).astype(np.uint8), **row) for n in names]

    return photos


@pytest.fixture
def with_banner(drives, paint, box_photo):
    """A sequence whose photos all have a banner, and where it is."""

    def photos(sequence="s", **row):
        pictures, places = drives[0]
        made = []
        for k, (picture, place) in enumerate(zip(pictures, places, strict=True)):
            rgb, truth = paint("banner", picture)
            at = {"east_m": place[0], "north_m": place[1], "sequence_id": sequence}
            made.append(box_photo(f"{sequence}{k:02d}", rgb, **at, **row))
        return made, truth

    return photos


def test_the_photos_of_a_sequence_with_a_banner_share_one_mask(make, with_banner):
    photos, truth = with_banner()
    report, out = make(photos)
    assert {photo.mask for photo in photos} == {"sequence"}
    used = read_mask(out, "s00")
    assert used.shape == truth.shape
    assert (~used & truth).sum() / truth.sum() > 0.95
    assert photos[0].mask_share == pytest.approx((~used).mean())
    assert mask_path(out, "s00").stat().st_ino == mask_path(out, "s09").stat().st_ino
    assert report.counts["masked"] == len(photos)
    assert report.counts["mask_missing"] == 0
    assert report.counts["masked_share"] == pytest.approx((~used).mean(), abs=1e-3)


def test_the_preview_shows_what_is_ignored_in_red(make, with_banner):
    photos, _ = with_banner()
    report, out = make(photos)
    assert report.preview == out / "masks.jpg"
    picture = cv2.imread(str(report.preview)).astype(int)
    tile = picture[:240, :320]
    assert (tile[-8:, :, 2] - tile[-8:, :, 0]).mean() > 60
    assert abs((tile[:160, :, 2] - tile[:160, :, 0]).mean()) < 40
    merged = report.added_to(StepReport(counts={"ok": 3}))
    assert merged.counts["ok"] == 3
    assert merged.counts["masked"] == len(photos)
    assert list(merged.previews.values()) == [report.preview]


def test_masks_do_not_depend_on_threads_or_on_the_order_of_photos(make, with_banner):
    photos, _ = with_banner()
    make(photos, threads=1)
    first = [(p.image_id, p.mask, p.mask_share) for p in photos]
    _, out = make(photos[::-1], threads=2)
    assert first == [(p.image_id, p.mask, p.mask_share) for p in photos]
    assert read_mask(out, "s00") is not None


def test_views_of_a_panorama_learn_each_for_themselves(make, with_banner, drives, box_photo):
    looking, _ = with_banner("a", view_yaw_deg=0.0, view_pitch_deg=5.0, panorama_id="p")
    pictures, places = drives[0]
    others = [
        box_photo(
            f"b{k}",
            picture,
            east_m=place[0],
            north_m=place[1],
            sequence_id="a",
            view_yaw_deg=60.0,
            view_pitch_deg=5.0,
            panorama_id="p",
        )
        for k, (picture, place) in enumerate(zip(pictures, places, strict=True))
    ]
    _, out = make(looking + others)
    assert {photo.mask for photo in looking} == {"sequence"}
    assert {photo.mask for photo in others} == {"none"}
    assert {photo.mask_share for photo in others} == {0.0}
    assert not mask_path(out, "b0").exists()


def test_a_missing_mask_is_a_state_with_its_reason_and_is_counted(make, noisy):
    photos = [*noisy("a", "b"), *noisy("c", sequence_id=None)]
    report, out = make(photos)
    few = "missing: too few photos of the sequence that moved"
    assert [photo.mask for photo in photos] == [few, few, "missing: no sequence"]
    assert all(np.isnan(photo.mask_share) for photo in photos)
    assert report.counts["mask_missing"] == 3
    assert report.counts[f"mask {few}"] == 2
    assert report.counts["masked"] == 0
    assert report.counts["masked_share"] == 0.0
    assert report.preview is None
    assert not (out / "masks").exists()


def test_photos_that_are_not_used_get_no_mask(make, noisy):
    (photo,) = noisy("a")
    photo.status = "rejected"
    report, _ = make([photo])
    assert photo.mask is None
    assert report.counts["mask_missing"] == 0


def test_without_sources_nothing_is_ignored_and_nothing_is_missing(make, noisy):
    photos = noisy("a")
    report, _ = make(photos, Detecting(), sources=())
    assert photos[0].mask == "none"
    assert photos[0].mask_share == 0.0
    assert report.counts["mask_missing"] == 0


def test_detections_of_the_wanted_kinds_are_ignored(make, noisy):
    photos = noisy("car", "sign", "none", "gone")
    source = Detecting(
        car=(Detection(value="object--vehicle--car", geometry=LEFT_HALF),),
        sign=(Detection(value="object--vehicles", geometry=LEFT_HALF),),
        none=(),
        gone="deleted at the source",
    )
    report, out = make(photos, source, sources=("detections",))
    assert [photo.mask for photo in photos] == [
        "detections", "none", "missing: no detections", "missing: deleted at the source",
    ]  # fmt: skip
    used = read_mask(out, "car")
    assert not used[:, :32].any()
    assert used[:, 34:].all()
    assert report.counts["mask missing: no detections"] == 1
    assert report.counts["masked"] == 1


def test_an_unreadable_detection_makes_the_mask_missing_and_stops_nothing(make, noisy):
    photos = noisy("bad", "good")
    car = "object--vehicle--car"
    source = Detecting(
        bad=(Detection(value=car, geometry="!!"),), good=(Detection(value=car, geometry=LEFT_HALF),)
    )
    make(photos, source, sources=("detections",))
    assert photos[0].mask.startswith("missing: a detection of 2 characters")
    assert photos[1].mask == "detections"


def test_a_source_without_detections_says_so(make, noisy):
    photos = noisy("a")
    make(photos, sources=("detections",))
    assert photos[0].mask == "missing: the source has no detections"


def test_views_of_a_panorama_see_what_was_detected_in_it(make, noisy):
    """A car straight ahead in the panorama is in the middle of the view ahead, and in no other."""
    rig = {"view_pitch_deg": 0.0, "width": 64, "height": 48, "focal_ratio": 0.5}
    views = [
        photo
        for name, yaw in (("p~v0", 0.0), ("p~v1", 180.0))
        for photo in noisy(name, panorama_id="p", view_yaw_deg=yaw, **rig)
    ]
    ahead = outline_text(np.array([[0.45, 0.45], [0.55, 0.45], [0.55, 0.6], [0.45, 0.6]]))
    source = Detecting(p=(Detection(value="object--vehicle--car", geometry=ahead),))
    _, out = make(views, source, sources=("detections",))
    assert source.asked == ["p"]  # once for all views
    assert [view.mask for view in views] == ["detections", "none"]
    y, x = np.nonzero(~read_mask(out, "p~v0"))
    half = 32 * np.tan(np.radians(0.05 * 360))  # the focal length is 32 px
    assert abs(x.min() - (32 - half)) <= 2
    assert abs(x.max() - (32 + half)) <= 2
    assert abs(y.max() - (24 + 32 * np.tan(np.radians(0.1 * 180)) / np.cos(0.05 * 2 * np.pi))) <= 2


def test_detections_are_asked_for_only_when_the_settings_say_so(make, noisy):
    source = Detecting()
    make(noisy("a"), source)
    assert source.asked == []


def test_regions_of_several_sources_are_united(make, with_banner, tmp_path, onnx_convolution):
    photos, truth = with_banner()
    car = (Detection(value="human--person--individual", geometry=LEFT_HALF),)
    source = Detecting(**{photo.image_id: car for photo in photos[1:]}, s00=())
    never = np.array([[1.0, 1, 1], [0, 0, 0]], np.float32)[:, :, None, None]
    file = onnx_convolution(tmp_path / "n.onnx", never, np.array([1.0, 0], np.float32))
    more = {"model_classes": (1,), "model_mean": (0, 0, 0), "model_std": (1, 1, 1)}
    sources = ("model", "detections", "sequence")
    size = {"model_width_px": 32, "model_height_px": 32}
    _, out = make(photos, source, sources=sources, model_file=file, **more, **size)
    assert photos[0].mask == "sequence|missing: no detections"
    assert photos[1].mask == "detections|sequence"
    used = read_mask(out, "s01")
    assert not used[:, : truth.shape[1] // 2].any()
    assert used[: truth.shape[0] // 2, truth.shape[1] // 2 + 4 :].all()
    assert (~used & truth).sum() / truth.sum() > 0.95


def test_the_order_of_sources_does_not_change_the_settings():
    one, two = ("sequence", "model"), ("model", "sequence", "model")
    assert MaskSettings(sources=one) == MaskSettings(sources=two)


def test_a_model_without_its_file_is_an_error_and_not_a_missing_mask(make, noisy):
    with pytest.raises(ConfigError, match=r"masks\.model_file is empty"):
        make(noisy("a"), sources=("model",), model_classes=(1,))
