from datetime import UTC, datetime

import pytest

from citysplat_core.errors import ImageError
from citysplat_core.imagery.exif import read_exif


@pytest.fixture
def photo(tmp_path, make_jpeg):
    def write(exif=b"", size=(64, 48)):
        path = tmp_path / "photo.jpg"
        path.write_bytes(make_jpeg(size, exif=exif) if exif else make_jpeg(size))
        return path

    return write


@pytest.mark.parametrize(("lon", "lat"), [(8.5412345, 47.3712345), (-70.5, -33.25)])
def test_position_altitude_and_heading_are_read(photo, make_exif, lon, lat):
    import piexif

    gps = {
        piexif.GPSIFD.GPSAltitude: (4105, 10),
        piexif.GPSIFD.GPSAltitudeRef: 1,
        piexif.GPSIFD.GPSImgDirection: (36050, 100),
    }
    facts = read_exif(photo(make_exif(lon, lat, gps=gps)))
    assert (facts.lon, facts.lat) == (pytest.approx(lon, abs=1e-7), pytest.approx(lat, abs=1e-7))
    assert facts.altitude_m == -410.5
    assert facts.heading_deg == pytest.approx(0.5)


def test_camera_focal_and_time_are_read(photo, make_exif):
    import piexif

    exif = make_exif(
        8.5, 47.3,
        **{"0th": {piexif.ImageIFD.Make: b"Apple\x00", piexif.ImageIFD.Model: b"iPhone"},
           "Exif": {piexif.ExifIFD.FocalLengthIn35mmFilm: 27,
                    piexif.ExifIFD.DateTimeOriginal: b"2024:05:01 12:00:00",
                    piexif.ExifIFD.OffsetTimeOriginal: b"+02:00"}},
    )  # fmt: skip
    facts = read_exif(photo(exif))
    assert (facts.make, facts.model) == ("Apple", "iPhone")
    assert facts.focal_ratio == pytest.approx(0.75)
    assert facts.captured_at == datetime(2024, 5, 1, 10, tzinfo=UTC)


def test_the_gps_clock_wins_over_the_cameras(photo, make_exif):
    import piexif

    gps = {piexif.GPSIFD.GPSDateStamp: "2024:05:01",
           piexif.GPSIFD.GPSTimeStamp: ((9, 1), (30, 1), (15, 1))}  # fmt: skip
    camera = {piexif.ExifIFD.DateTimeOriginal: b"2001:01:01 00:00:00"}
    facts = read_exif(photo(make_exif(8.5, 47.3, gps=gps, Exif=camera)))
    assert facts.captured_at == datetime(2024, 5, 1, 9, 30, 15, tzinfo=UTC)


def test_a_camera_without_a_fix_has_no_position(photo, make_exif):
    facts = read_exif(photo(make_exif(0.0, 0.0)))
    assert (facts.lon, facts.lat) == (None, None)


def test_nonsense_is_missing_and_not_a_number(photo, make_exif):
    import piexif

    gps = {piexif.GPSIFD.GPSAltitude: (1, 0), piexif.GPSIFD.GPSImgDirection: (0, 0)}
    exif = {piexif.ExifIFD.DateTimeOriginal: b"0000:00:00 00:00:00"}
    facts = read_exif(photo(make_exif(8.5, 47.3, gps=gps, Exif=exif)))
    assert (facts.altitude_m, facts.heading_deg, facts.captured_at) == (None, None, None)


def test_a_photo_without_exif_has_its_size_only(photo):
    facts = read_exif(photo(size=(80, 60)))
    assert (facts.width, facts.height, facts.lon, facts.make) == (80, 60, None, None)


def test_what_is_no_photo_is_an_image_error(tmp_path):
    (tmp_path / "a.jpg").write_text("hello")
    with pytest.raises(ImageError, match=r"a\.jpg is no readable photo"):
        read_exif(tmp_path / "a.jpg")
