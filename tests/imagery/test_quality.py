import cv2
import numpy as np
import pytest

from citysplat_core.errors import ImageError
from citysplat_core.imagery import score_photo
from citysplat_core.imagery.jpeg_check import check_jpeg
from citysplat_core.simulation.server import SyntheticScenes


def encode(pixels, quality=90):
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def auc(good, bad):
    wins = [(g > b) + 0.5 * (g == b) for g in good for b in bad]
    return float(np.mean(wins))


def test_blurred_photos_score_lower_than_sharp_ones():
    scenes = SyntheticScenes(size=(640, 480), blurred_share=0.5)
    ids = [str(i) for i in range(60)]
    scores = {i: score_photo(scenes.jpeg(i)).blur_score for i in ids}
    sharp = [scores[i] for i in ids if not scenes.is_blurry(i)]
    blurred = [scores[i] for i in ids if scenes.is_blurry(i)]
    assert auc(sharp, blurred) > 0.98


@pytest.mark.parametrize(("blur", "least"), [("gauss", 0.98), ("motion", 0.98)])
def test_real_photos_are_told_from_their_blurred_copies(real_data, blur, least):
    good, bad = [], []
    for path in sorted((real_data / "lund_street" / "images").glob("*.jpg"))[::3]:
        pixels = cv2.imread(str(path))
        kernel = np.ones((1, 15), np.float32) / 15
        soft = cv2.GaussianBlur(pixels, (0, 0), 2) if blur == "gauss" else cv2.filter2D(
            pixels, -1, kernel
        )  # fmt: skip
        good.append(score_photo(encode(pixels)).blur_score)
        bad.append(score_photo(encode(soft)).blur_score)
    assert auc(good, bad) >= least


def test_strong_compression_does_not_read_as_blur():
    pixels = cv2.imdecode(np.frombuffer(SyntheticScenes().jpeg("3"), np.uint8), 1)
    soft = cv2.GaussianBlur(pixels, (0, 0), 3)
    assert score_photo(encode(pixels, 50)).blur_score > score_photo(encode(soft)).blur_score + 1


def test_brightness_is_on_the_scale_of_0_to_255():
    gray = np.full((48, 64, 3), 200, np.uint8)
    quality = score_photo(encode(gray))
    assert quality.luminance_mean == pytest.approx(200, abs=2)
    assert quality.luminance_std == pytest.approx(0, abs=1)


def test_near_duplicates_differ_in_few_bits():
    pixels = cv2.imdecode(np.frombuffer(SyntheticScenes().jpeg("3"), np.uint8), 1)
    other = cv2.imdecode(np.frombuffer(SyntheticScenes().jpeg("8"), np.uint8), 1)
    darker = (pixels * 0.9).astype(np.uint8)
    hashes = [int(score_photo(encode(p)).dhash, 16) for p in (pixels, darker, other)]
    assert (hashes[0] ^ hashes[1]).bit_count() <= 8 < (hashes[0] ^ hashes[2]).bit_count()
    assert len(score_photo(encode(pixels)).dhash) == 16


def test_only_the_strict_decoder_sees_damage_in_the_middle():
    noticed = 0
    for scene in range(12):
        body = SyntheticScenes(size=(640, 480)).jpeg(str(scene))
        middle = len(body) // 2
        foreign = np.random.default_rng(scene).integers(0, 256, 200, np.uint8).tobytes()
        damaged = body[:middle] + foreign + body[middle + 200 :]
        assert cv2.imdecode(np.frombuffer(damaged, np.uint8), 1) is not None
        for check in (check_jpeg, score_photo):
            try:
                check(damaged)
            except ImageError as error:
                assert "a damaged JPEG" in str(error)  # noqa: PT017 - not every damage is seen
                noticed += 1
    assert noticed >= 20  # of 24: entropy codes fall back into step now and then


def test_a_cut_off_photo_and_a_web_page_are_told_apart():
    with pytest.raises(ImageError, match="cut off"):
        check_jpeg(SyntheticScenes().jpeg("3")[:-100])
    with pytest.raises(ImageError, match="do not begin like a JPEG"):
        check_jpeg(b"<html>")
