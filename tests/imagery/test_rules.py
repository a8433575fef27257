"""Which photos get in, and why the others do not."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from citysplat_core.imagery.box_photo import BoxPhoto
from citysplat_core.imagery.quality import Quality, hamming
from citysplat_core.imagery.rules import refuse_before_download, refuse_by_scores
from citysplat_core.settings import PhotoSettings

GOOD = Quality(
    blur_score=-2.0, crete=0.3, laplacian=0.2, luminance_mean=110.0, luminance_std=50.0,
    dark_share=0.02, bright_share=0.02, dhash="0f0f0f0f0f0f0f0f",
)  # fmt: skip
START = datetime(2024, 6, 1, 10, tzinfo=UTC)


def photo(number=0, quality=GOOD, **row):
    """A good photo, 8 m and a second after the one before."""
    facts = {
        "image_id": f"{number:04d}", "is_pano": False, "source": "mapillary",
        "position_source": "gps", "sun_elevation_deg": 40.0, "gps_jump_m": 0.0,
        "computed_jump_m": 0.0, "bias_east_m": float("nan"), "bias_north_m": float("nan"),
        "speed_m_s": 8.0, "still_run": -1, "still_rank": 0, "still_length": 0,
        "is_crossing": False, "sequence_id": "s", "sequence_index": number, "panorama_id": None,
        "east_m": 0.0, "north_m": 8.0 * number, "heading_deg": 0.0,
        "captured_at": START + timedelta(seconds=number),
    }  # fmt: skip
    return BoxPhoto(row=facts | row, quality=quality)


def early(settings=None, **row):
    one = photo(**row)
    refuse_before_download([one], settings or PhotoSettings())
    return one.reason


def late(*photos, **settings):
    refuse_by_scores(photos, PhotoSettings(**settings))
    return [one.reason for one in photos]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, None),
        ({"sun_elevation_deg": -5.9}, None),
        ({"sun_elevation_deg": -6.1}, "night"),
        ({"sun_elevation_deg": float("nan")}, None),
        ({"sun_elevation_deg": -40.0, "source": "folder"}, None),
        ({"gps_jump_m": 41.0}, "position jump"),
        ({"gps_jump_m": 41.0, "position_source": "computed"}, None),
        ({"computed_jump_m": 41.0, "position_source": "computed"}, "position jump"),
        ({"bias_east_m": 50.0, "bias_north_m": 50.0}, "position bias"),
        ({"bias_east_m": 50.0, "bias_north_m": 50.0, "position_source": "computed"}, None),
        ({"speed_m_s": 80.0}, None),
    ],
)
def test_metadata_speak_before_the_download(row, reason):
    assert early(**row) == reason


def test_every_rule_on_metadata_can_be_switched_off():
    off = PhotoSettings(min_sun_deg=None, max_jump_m=None, max_bias_m=None, max_stationary=None)
    bad = {"sun_elevation_deg": -40.0, "gps_jump_m": 900.0, "bias_east_m": 900.0}
    assert early(off, **bad, bias_north_m=0.0, still_run=0, still_rank=3, still_length=500) is None
    assert early(PhotoSettings(max_speed_m_s=30.0), speed_m_s=31.0) == "too fast"


def test_of_a_parked_car_five_photos_are_kept_evenly_spread():
    parked = [photo(k, still_run=4, still_rank=k, still_length=500) for k in range(500)]
    refuse_before_download(parked, PhotoSettings())
    kept = [k for k, one in enumerate(parked) if one.is_open]
    assert kept == [0, 125, 250, 374, 499]
    assert Counter(one.reason for one in parked) == {"stationary": 495, None: 5}
    short = [photo(k, still_run=4, still_rank=k, still_length=5) for k in range(5)]
    refuse_before_download(short, PhotoSettings())
    assert all(one.is_open for one in short)


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({}, None),
        ({"blur_score": -4.6}, "blurred"),
        ({"luminance_mean": 11.0}, "too dark"),
        ({"dark_share": 0.95}, "too dark"),
        ({"bright_share": 0.7}, "overexposed"),
        ({"luminance_std": 3.0}, "no contrast"),
        ({"blur_score": -9.0, "luminance_mean": 0.0}, "blurred"),
    ],
)
def test_pixels_speak_after_scoring(scores, reason):
    assert late(photo(quality=replace(GOOD, **scores))) == [reason]


def test_the_same_photo_uploaded_twice_is_kept_once_and_the_sharper_one():
    again = photo(1, replace(GOOD, blur_score=-2.5), north_m=1.0, sequence_id="t")
    assert late(photo(0), again) == [None, "near-duplicate"]
    sharper = photo(1, replace(GOOD, blur_score=-1.5), north_m=1.0, sequence_id="t")
    assert late(photo(0), sharper) == ["near-duplicate", None]
    assert late(photo(0), photo(1, north_m=1.0, sequence_id="t"), duplicate_bits=None) == [None] * 2


@pytest.mark.parametrize(
    "other",
    [
        {"north_m": 3.5},
        {"captured_at": START + timedelta(seconds=90)},
        {"quality": replace(GOOD, dhash="0f0f0f0f0f0f0ff0")},
    ],
)
def test_what_differs_in_place_time_or_picture_is_no_duplicate(other):
    values = {"north_m": 1.0, "sequence_id": "t"} | other
    assert late(photo(0), photo(1, **values)) == [None, None]


def test_frames_of_a_moving_camera_are_no_duplicates_and_those_of_a_standing_one_are():
    moving = [photo(k, north_m=0.17 * k, speed_m_s=1.3) for k in range(6)]
    assert late(*moving) == [None] * 6
    standing = [photo(k, north_m=0.05 * k, speed_m_s=0.1) for k in range(6)]
    assert late(*standing) == [None, *["near-duplicate"] * 5]


def test_views_of_one_panorama_are_no_duplicates():
    views = [
        photo(k, north_m=0.0, sequence_id=f"s~v{k}", panorama_id="p", captured_at=START)
        for k in range(3)
    ]
    assert late(*views) == [None] * 3


def test_the_order_of_photos_does_not_matter():
    rng = np.random.default_rng(3)
    photos = [
        photo(k, replace(GOOD, blur_score=float(-rng.uniform(1, 3))), sequence_id=str(k),
              north_m=float(rng.uniform(0, 8)))
        for k in range(40)
    ]  # fmt: skip
    late(*photos)
    first = {one.image_id: one.reason for one in photos}
    for one in photos:
        one.status, one.reason = "open", None
    late(*[photos[k] for k in rng.permutation(40)])
    assert {one.image_id: one.reason for one in photos} == first


def test_thinning_is_off_and_keeps_the_sharpest_of_each_stretch_when_on():
    sharp = {4, 11, 17}
    drive = [
        photo(k, replace(GOOD, blur_score=-1.0 if k in sharp else -2.0), north_m=2.0 * k)
        for k in range(21)
    ]
    assert late(*drive) == [None] * 21
    reasons = late(*drive, keyframe_distance_m=14.0)
    kept = [k for k, reason in enumerate(reasons) if reason is None]
    assert kept == [4, 11, 17]
    assert set(reasons) == {None, "thinned"}


def test_thinning_keeps_all_at_crossings_and_where_the_camera_turns():
    crossing = [photo(k, north_m=2.0 * k, is_crossing=8 <= k <= 12) for k in range(21)]
    kept = [k for k, r in enumerate(late(*crossing, keyframe_distance_m=20.0)) if r is None]
    assert set(range(8, 13)) <= set(kept)
    assert len(kept) < 10
    turning = [photo(k, north_m=2.0 * k, heading_deg=20.0 * k) for k in range(8)]
    assert late(*turning, keyframe_distance_m=20.0) == [None] * 8


def test_hashes_differ_in_bits():
    assert hamming("0000000000000000", "00000000000000ff") == 8
