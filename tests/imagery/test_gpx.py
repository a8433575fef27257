from datetime import UTC, datetime

import numpy as np
import pytest

from citysplat_core.errors import ImageError
from citysplat_core.imagery.gpx import place_on_tracks, read_tracks

START = datetime(2024, 5, 1, 10, 0, 0, tzinfo=UTC).timestamp()
METRE_EAST = 1 / (111_320 * np.cos(np.radians(47.37)))


def gpx(*segments, head='<gpx xmlns="http://www.topografix.com/GPX/1/1">'):
    parts = "".join(f"<trkseg>{''.join(points)}</trkseg>" for points in segments)
    return f"<?xml version='1.0'?>{head}<trk>{parts}</trk></gpx>"


def point(second, east_m=0.0, ele="", lat=47.37, lon=8.54):
    time = datetime.fromtimestamp(START + second, UTC).isoformat().replace("+00:00", "Z")
    height = f"<ele>{ele}</ele>" if ele != "" else ""
    return (
        f'<trkpt lat="{lat}" lon="{lon + east_m * METRE_EAST}">{height}<time>{time}</time></trkpt>'
    )


@pytest.fixture
def tracks(tmp_path):
    def read(*segments, **options):
        path = tmp_path / "walk.gpx"
        path.write_text(gpx(*segments, **options))
        return read_tracks([path])

    return read


def placed(segments, second, max_gap_s=60.0):
    return place_on_tracks(segments, START + second, max_gap_s=max_gap_s)


def test_a_photo_between_two_points_is_interpolated_with_height_and_direction(tracks):
    segments = tracks([point(0, 0, 400), point(10, 20, 410)])
    here = placed(segments, 2.5)
    assert here.lon == pytest.approx(8.54 + 5 * METRE_EAST, abs=1e-9)
    assert here.lat == pytest.approx(47.37)
    assert here.altitude_m == pytest.approx(402.5)
    assert here.motion_deg == pytest.approx(90.0, abs=0.1)


def test_photos_before_after_and_in_long_gaps_are_not_placed(tracks):
    segments = tracks([point(0), point(10, 10), point(200, 300)])
    assert placed(segments, -0.1) is None
    assert placed(segments, 200.1) is None
    assert placed(segments, 100) is None
    assert placed(segments, 100, max_gap_s=300) is not None
    assert placed(segments, 200, max_gap_s=300).lon == pytest.approx(8.54 + 300 * METRE_EAST)


def test_segments_are_not_bridged_and_the_denser_of_two_receivers_wins(tracks):
    walk, drive = [point(0), point(10, 10)], [point(20, 100), point(30, 110)]
    coarse = [point(0, 500), point(30, 500)]
    segments = tracks(walk, drive)
    assert placed(segments, 15) is None
    assert placed(tracks(coarse, walk), 5).lon == pytest.approx(8.54 + 5 * METRE_EAST)
    assert placed(tracks(coarse, walk), 15).lon == pytest.approx(8.54 + 500 * METRE_EAST)


def test_a_missing_height_stays_missing_and_a_standing_camera_has_no_direction(tracks):
    here = placed(tracks([point(0, 0, 400), point(10, 0.5)]), 5)
    assert here.altitude_m is None
    assert here.motion_deg is None


def test_points_out_of_order_doubled_or_without_time_do_no_harm(tracks):
    bare = '<trkpt lat="0" lon="0"/>'
    segments = tracks([point(10, 20), bare, point(0), point(0)], [point(50)])
    assert len(segments) == 1
    assert segments[0].time_s.tolist() == [START, START + 10]
    assert placed(segments, 5).lon == pytest.approx(8.54 + 10 * METRE_EAST)


def test_a_track_across_the_date_line_is_interpolated_the_short_way(tracks):
    segments = tracks([point(0, lon=179.9999), point(10, lon=-179.9997)])
    assert placed(segments, 5).lon == pytest.approx(-179.9999, abs=1e-6)


def test_gpx_1_0_without_a_namespace_and_a_folder_of_files_are_read(tmp_path):
    for name, head in (
        ("b.gpx", "<gpx>"),
        ("a.GPX", '<gpx xmlns="http://www.topografix.com/GPX/1/0">'),
    ):
        (tmp_path / name).write_text(gpx([point(0), point(1, 1)], head=head))
    assert len(read_tracks([tmp_path])) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<gpx><trk>", "cannot be read"),
        ('<!DOCTYPE gpx [<!ENTITY x "y">]><gpx>&x;</gpx>', "a document type"),
        ("<gpx></gpx>", "no track with times"),
        (
            gpx(['<trkpt lat="95" lon="8"><time>2024-05-01T10:00:00Z</time></trkpt>']),
            "on the globe",
        ),
        (gpx(['<trkpt lat="45" lon="8"><time>yesterday</time></trkpt>']), "yesterday"),
    ],
)
def test_a_file_that_is_no_track_is_an_error_that_says_why(tmp_path, text, message):
    path = tmp_path / "walk.gpx"
    path.write_text(text)
    with pytest.raises(ImageError, match=message):
        read_tracks([path])


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ImageError, match=r"source\.gpx"):
        read_tracks([tmp_path / "none.gpx"])
