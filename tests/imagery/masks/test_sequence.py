import json
import time

import cv2
import numpy as np
import pandas as pd
import pytest

from citysplat_core.imagery.masks.sequence import WIDTH_PX, chosen_photos, static_region


def small(rgb):
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    height = round(gray.shape[0] * WIDTH_PX / gray.shape[1])
    return cv2.resize(gray, (WIDTH_PX, height), interpolation=cv2.INTER_AREA)


def learnt(drive, paint, kind):
    """Region and truth, both of the small pictures, with the exposure changing all the time."""
    photos, places = drive
    chosen = chosen_photos(places, min_photos=10)
    assert not isinstance(chosen, str)
    rng, pictures, truth = np.random.default_rng(2), [], None
    for row in chosen.rows:
        covered_photo, truth = paint(kind, photos[row])
        gain = np.exp(0.15 * rng.standard_normal())
        pictures.append(small((covered_photo * gain).clip(0, 255).astype(np.uint8)))
    size = pictures[0].shape[::-1]
    truth = cv2.resize(truth.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    return static_region(pictures, chosen.groups), truth


# Measured on the two drives: see docs/how-to/masks.md. Recall counts most: what is missed gives
# false pairs; what is too much costs a little of the road.
@pytest.mark.parametrize(
    ("kind", "recall", "precision"),
    [("bonnet", 0.9, 0.7), ("rider", 0.95, 0.6), ("banner", 0.95, 0.6), ("watermark", 0.95, 0.1)],
)
def test_what_travels_with_the_camera_is_found(drives, paint, kind, recall, precision):
    for drive in drives:
        region, truth = learnt(drive, paint, kind)
        both = (region & truth).sum()
        assert both / truth.sum() >= recall
        assert both / region.sum() >= precision
        assert region.mean() <= truth.mean() + 0.06


def test_nothing_is_found_where_nothing_travels_with_the_camera(drives, paint):
    for drive in drives:
        region, _ = learnt(drive, paint, "none")
        assert region.mean() < 0.01


def test_a_banner_at_the_top_is_found_when_the_car_turned(drives, paint):
    found = []
    for drive in drives:
        region, truth = learnt(drive, paint, "top banner")
        chosen = chosen_photos(drive[1], min_photos=10)
        turned = (np.bincount(chosen.groups) >= 3).sum() > 1
        found.append(turned)
        assert (region & truth).sum() / truth.sum() >= (0.95 if turned else 0.0)
        assert turned or not region.any()
    assert any(found)


def test_clouds_far_away_are_left_alone_on_a_straight_drive():
    rng = np.random.default_rng(3)
    sky = cv2.GaussianBlur(rng.integers(0, 255, (192, WIDTH_PX)).astype(np.float32), (0, 0), 4)
    sky = cv2.normalize(sky, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    pictures = []
    for _ in range(20):
        picture = rng.integers(0, 255, (192, WIDTH_PX)).astype(np.uint8)
        picture[:100] = sky[:100]
        pictures.append(picture)
    assert not static_region(pictures, (0,) * 20).any()


def test_photos_that_are_all_alike_give_a_reason_and_no_mask():
    rng = np.random.default_rng(4)
    picture = rng.integers(0, 255, (192, WIDTH_PX)).astype(np.uint8)
    alike = static_region([picture] * 12, (0,) * 6 + (1,) * 6)
    assert alike == "the photos are too alike to tell what stays in place"


def test_a_camera_that_stood_still_shows_nothing():
    stood = np.random.default_rng(1).normal(0, 0.5, (50, 2))
    assert chosen_photos(stood, min_photos=10) == "too few photos of the sequence that moved"
    circled = 4 * np.array([[np.cos(a), np.sin(a)] for a in np.arange(40.0)])
    assert chosen_photos(circled, min_photos=10) == "the sequence hardly moved"


def test_photos_are_chosen_apart_and_grouped_by_direction():
    east = np.arange(0.0, 60.0, 1.0)
    way = np.concatenate([np.c_[east, 0 * east], np.c_[59 + 0 * east, east]])
    chosen = chosen_photos(way, min_photos=10)
    steps = np.hypot(*np.diff(way[list(chosen.rows)], axis=0).T)
    assert steps.min() >= 2.9
    assert chosen.groups[0] == 0
    assert chosen.groups[-1] == max(chosen.groups) > 0
    lost = way.copy()
    lost[7] = np.nan
    assert 7 not in chosen_photos(lost, min_photos=10).rows


@pytest.mark.parametrize(("name", "least"), [("lund_street", 20), ("caliterra_aerial", 40)])
def test_real_photos_are_left_alone_and_a_banner_on_them_is_found(real_data, paint, name, least):
    table = pd.read_csv(real_data / name / "metadata.csv")
    metres = 111_320.0 * np.array([np.cos(np.radians(table["lat"][0])), 1.0])
    places = (table[["lon", "lat"]].to_numpy() - table[["lon", "lat"]].to_numpy()[0]) * metres
    chosen = chosen_photos(places, min_photos=10)
    assert len(chosen.rows) >= least
    files = [real_data / name / table["file"][row] for row in chosen.rows]
    photos = [cv2.resize(cv2.imread(str(file)), (512, 384)) for file in files]
    assert static_region([small(photo) for photo in photos], chosen.groups).mean() < 0.01
    covered = [paint("banner", photo) for photo in photos]
    region = static_region([small(photo) for photo, _ in covered], chosen.groups)
    truth = cv2.resize(covered[0][1].astype(np.uint8), region.shape[::-1]) > 0
    assert (region & truth).sum() / truth.sum() > 0.9


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gopro_walkway", "too few photos of the sequence that moved"),
        ("mapillary_floripa", "too few photos of the sequence that moved"),
    ],
)
def test_short_real_sequences_say_that_they_show_too_little(real_data, name, reason):
    if name == "gopro_walkway":
        table = pd.read_csv(real_data / name / "metadata.csv")
    else:
        found = json.loads((real_data / name / "metadata.json").read_text())
        table = pd.DataFrame(next(iter(found.values())))
    metres = 111_320.0 * np.array([np.cos(np.radians(table["lat"][0])), 1.0])
    places = (table[["lon", "lat"]].to_numpy() - table[["lon", "lat"]].to_numpy()[0]) * metres
    assert chosen_photos(places, min_photos=10) == reason


def test_learning_is_deterministic_and_takes_less_than_3_ms_a_photo(drives, paint):
    photos, places = drives[0]
    chosen = chosen_photos(places, min_photos=10)
    pictures = [small(paint("rider", photos[row])[0]) for row in chosen.rows]
    started = time.process_time()
    first = static_region(pictures, chosen.groups)
    spent = time.process_time() - started
    np.testing.assert_array_equal(first, static_region(pictures, chosen.groups))
    assert spent / len(pictures) < 0.003 * 3  # other work on the machine slows it down
