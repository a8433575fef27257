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


def camera_and_gps(make_exif, second, camera, **more):
    import piexif

    gps = {piexif.GPSIFD.GPSDateStamp: "2024:05:01",
           piexif.GPSIFD.GPSTimeStamp: ((9, 1), (30, 1), second)}  # fmt: skip
    tags = {piexif.ExifIFD.DateTimeOriginal: camera, piexif.ExifIFD.SubSecTimeOriginal: b"25"}
    return make_exif(8.5, 47.3, gps=gps, Exif=tags | more)


def test_whole_gps_seconds_get_the_fraction_of_a_camera_clock_that_agrees(photo, make_exif):
    at = datetime(2024, 5, 1, 9, 30, 15, tzinfo=UTC)
    agrees = photo(camera_and_gps(make_exif, (15, 1), b"2024:05:01 15:00:15"))  # India
    facts = read_exif(agrees)
    assert facts.captured_at == at.replace(microsecond=250_000)
    assert facts.time_is_gps
    differs = photo(camera_and_gps(make_exif, (15, 1), b"2024:05:01 15:07:00"))
    assert read_exif(differs).captured_at == at
    exact = photo(camera_and_gps(make_exif, (157, 10), b"2024:05:01 15:00:15"))
    assert read_exif(exact).captured_at == at.replace(microsecond=700_000)


def test_the_sizes_are_those_of_the_upright_photo(photo, make_exif):
    import piexif

    facts = read_exif(photo(make_exif(8.5, 47.3, **{"0th": {piexif.ImageIFD.Orientation: 6}})))
    assert (facts.width, facts.height, facts.orientation) == (48, 64, 6)


def test_the_focal_length_is_taken_from_the_sensor_where_no_35_mm_value_is(photo, make_exif):
    import piexif

    exif = {
        piexif.ExifIFD.FocalLength: (24, 1), piexif.ExifIFD.PixelXDimension: 6000,
        piexif.ExifIFD.FocalPlaneXResolution: (6000, 36),
        piexif.ExifIFD.FocalPlaneResolutionUnit: 4,
    }  # fmt: skip
    assert read_exif(photo(make_exif(8.5, 47.3, Exif=exif))).focal_ratio == pytest.approx(24 / 36)


@pytest.mark.parametrize(("reference", "magnetic"), [("M", True), ("T", False)])
def test_a_magnetic_direction_is_told_apart(photo, make_exif, reference, magnetic):
    import piexif

    gps = {piexif.GPSIFD.GPSImgDirection: (90, 1), piexif.GPSIFD.GPSImgDirectionRef: reference}
    facts = read_exif(photo(make_exif(8.5, 47.3, gps=gps)))
    assert (facts.heading_deg, facts.heading_is_magnetic) == (90.0, magnetic)


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


def test_a_photo_of_any_size_is_read_and_nothing_is_warned(tmp_path, make_jpeg):
    body = bytearray(make_jpeg())
    frame = body.index(b"\xff\xc0")
    body[frame + 5 : frame + 9] = (12_288).to_bytes(2) + (24_576).to_bytes(2)  # 302 megapixels
    (tmp_path / "huge.jpg").write_bytes(body)
    facts = read_exif(tmp_path / "huge.jpg")
    assert (facts.width, facts.height) == (24_576, 12_288)
