"""Where a folder's photos get their positions from, which files are read, what is kept."""

import io
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from citysplat_core.geography import Area
from citysplat_core.imagery import FolderSource, PhotoRequest, PhotoStore, discover_images
from citysplat_core.imagery.folder_rows import TrackOptions
from citysplat_core.imagery.preparing import prepared_photo
from citysplat_core.storage import no_progress

AREA = Area.from_bounds("8.53,47.36,8.55,47.38")
NOON = datetime(2024, 5, 1, 10, 0, 0, tzinfo=UTC)


@pytest.fixture
def mine(tmp_path):
    root = tmp_path / "mine"
    root.mkdir()
    return root


@pytest.fixture
def write(mine, make_jpeg, make_exif):
    """Write a photo taken some seconds after ten o'clock, with or without a place."""

    def photo(name, second=None, place=None, **gps):
        import piexif

        details = {}
        if second is not None:
            time = f"2024:05:01 {10 + second // 3600:02d}:00:{second % 60:02d}"
            details = {piexif.ExifIFD.DateTimeOriginal: time.encode()}
        exif = make_exif(*place, Exif=details, **gps) if place else piexif.dump({"Exif": details})
        (mine / name).write_bytes(make_jpeg(exif=exif))

    return photo


@pytest.fixture
def track(tmp_path):
    path = tmp_path / "walk.gpx"
    points = "".join(
        f'<trkpt lat="47.37" lon="{8.54 + second * 1e-5:.6f}"><ele>{400 + second}</ele>'
        f"<time>2024-05-01T10:00:{second:02d}Z</time></trkpt>"
        for second in range(0, 60, 10)
    )
    path.write_text(f"<gpx><trk><trkseg>{points}</trkseg></trk></gpx>")
    return path


def rows(source, tmp_path):
    found = source.discover(AREA, work=tmp_path, refresh=False, progress=no_progress)
    described = source.describe(found.found, work=tmp_path, progress=no_progress).to_pylist()
    return {row["image_id"]: row for row in described}, found.notes


def test_photos_are_placed_on_a_track_by_their_time(mine, write, track, tmp_path):
    write("a.jpg", 5)
    write("b.jpg", 25)
    write("early.jpg", 3600)
    write("clockless.jpg")
    source = FolderSource(mine, tracks=TrackOptions(paths=(track,)))
    listed, notes = rows(source, tmp_path)
    assert notes["photos_placed_by_gpx"] == 2
    assert notes["photos_without_position"] == 2
    assert listed["a"]["lon"] == pytest.approx(8.54005)
    assert listed["a"]["altitude_m"] == pytest.approx(405)
    assert listed["b"]["heading_deg"] == pytest.approx(90, abs=0.1)
    assert listed["early"]["reason"] == "no GPS position, and the GPX tracks do not cover its time"


def test_a_clock_that_is_ahead_is_corrected_in_the_catalog_too(mine, write, track, tmp_path):
    write("a.jpg", 3605)
    options = TrackOptions(paths=(track,), offset_s=3600.0, facing="left")
    row = rows(FolderSource(mine, tracks=options), tmp_path)[0]["a"]
    assert row["lon"] == pytest.approx(8.54005)
    assert row["captured_at"] == NOON.replace(second=5)
    assert row["heading_deg"] == pytest.approx(0.0, abs=0.1)


def test_a_time_of_the_table_without_zone_is_utc_and_corrected(mine, write, track, tmp_path):
    write("a.jpg", 3)
    table = tmp_path / "t.csv"
    table.write_text("file,lon,lat,captured_at\na.jpg,,,2024-05-01T12:00:05\n")
    options = TrackOptions(paths=(track,), offset_s=7200.0)
    row = rows(FolderSource(mine, table, tracks=options), tmp_path)[0]["a"]
    assert row["captured_at"] == NOON.replace(second=5)
    assert row["lon"] == pytest.approx(8.54005)


def test_the_table_wins_over_the_track_and_the_track_over_exif(mine, write, track, tmp_path):
    import piexif

    for name in ("table.jpg", "track.jpg"):
        gps = {piexif.GPSIFD.GPSImgDirection: (180, 1)}
        write(name, 5, (8.549, 47.379), gps=gps)
    write("exif.jpg", 3600, (8.549, 47.379))
    table = tmp_path / "t.csv"
    table.write_text("file,lon,lat\ntable.jpg,8.531,47.361\ntrack.jpg,,\nexif.jpg,,\n")
    source = FolderSource(mine, table, tracks=TrackOptions(paths=(track,)))
    listed, _ = rows(source, tmp_path)
    assert listed["table"]["lon"] == 8.531
    assert listed["table"]["altitude_m"] == pytest.approx(405), (
        "the table says none, the track does"
    )
    assert listed["track"]["lon"] == pytest.approx(8.54005)
    assert listed["track"]["heading_deg"] == 180.0, "the camera's own direction stays"
    assert listed["exif"]["lon"] == pytest.approx(8.549)


def test_a_heading_is_only_guessed_where_the_camera_looks_along_the_way(
    mine, write, track, tmp_path
):
    write("a.jpg", 25)
    options = TrackOptions(paths=(track,), facing="none")
    assert np.isnan(rows(FolderSource(mine, tracks=options), tmp_path)[0]["a"]["heading_deg"])


def encoded(kind, size=(64, 48), **options):
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def test_other_formats_are_read_or_refused_with_a_reason(mine, write, tmp_path, make_exif):
    write("a.jpg", 5, (8.54, 47.37))
    exif = make_exif(8.54, 47.37)
    (mine / "b.tif").write_bytes(encoded("TIFF", exif=exif))
    (mine / "c.png").write_bytes(encoded("PNG", exif=exif))
    (mine / "d.webp").write_bytes(encoded("WEBP", exif=exif))
    (mine / "e.HEIC").write_bytes(b"heic")
    (mine / "f.dng").write_bytes(b"raw")
    (mine / "a.dng").write_bytes(b"raw beside its JPEG")
    (mine / "._a.jpg").write_bytes(b"a Mac's leftovers")
    source = FolderSource(mine)
    listed, notes = rows(source, tmp_path)
    assert {k for k, v in listed.items() if v["status"] == "listed"} == {"a", "b", "c", "d"}
    assert listed["e"]["reason"] == ".heic (HEIC) is not read: export the photo as JPEG"
    assert "camera raw" in listed["f"]["reason"]
    assert notes["photos_unreadable"] == 2
    wanted = [PhotoRequest(image_id=i, photo_ref=listed[i]["photo_ref"]) for i in "abcd"]
    results = source.fetch_photos(
        wanted, PhotoStore(tmp_path / "store"), size_px=1024, n_threads=1, progress=no_progress
    )
    assert [(r.state, r.width, r.height) for r in results] == [("ok", 64, 48)] * 4


def test_a_file_that_cannot_be_read_fails_and_the_others_come(mine, write, tmp_path):
    write("a.jpg", 5, (8.54, 47.37))
    (mine / "folder.jpg").mkdir()
    wanted = [PhotoRequest(image_id=i, photo_ref=f"{i}.jpg") for i in ("folder", "a")]
    results = FolderSource(mine).fetch_photos(
        wanted, PhotoStore(tmp_path / "store"), size_px=0, n_threads=1, progress=no_progress
    )
    assert [r.state for r in results] == ["failed", "ok"]
    assert results[0].reason == "cannot be read (Is a directory)"


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_file_of_another_format_that_is_cut_off_fails(mine, tmp_path, kind):
    (mine / "cut.png").write_bytes(encoded(kind)[:-2000])
    wanted = [PhotoRequest(image_id="cut", photo_ref="cut.png")]
    (result,) = FolderSource(mine).fetch_photos(
        wanted, PhotoStore(tmp_path / "store"), size_px=0, n_threads=1, progress=no_progress
    )
    assert result.state == "failed"
    assert "no whole photo" in result.reason


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright_once(kind, orientation):
    """Pillow's own turning is the second opinion."""
    from PIL import ImageOps

    stored = Image.new("RGB", (64, 32), "black")
    stored.paste("red", (0, 0, 24, 16))
    stored.paste("blue", (0, 16, 24, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    stored.save(stream, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(stream.getvalue()))))
    made = Image.open(io.BytesIO(prepared_photo(stream.getvalue(), 0)))
    if orientation > 1 or kind != "JPEG":
        assert made.getexif().get(0x0112, 1) == 1, "nobody turns it a second time"
    assert np.abs(np.asarray(made.convert("RGB"), float) - expected[..., :3]).mean() < 12


def test_a_turned_photo_has_the_sizes_of_its_upright_file_in_the_catalog(mine, write, tmp_path):
    import piexif

    write("up.jpg", 5, (8.54, 47.37), **{"0th": {piexif.ImageIFD.Orientation: 8}})
    row = rows(FolderSource(mine), tmp_path)[0]["up"]
    assert (row["width"], row["height"], row["exif_orientation"]) == (48, 64, 8)


def test_the_upright_size_of_a_tiff_is_that_of_its_file(mine, tmp_path, make_exif):
    import piexif

    exif = make_exif(8.54, 47.37, **{"0th": {piexif.ImageIFD.Orientation: 6}})
    (mine / "up.tif").write_bytes(encoded("TIFF", exif=exif))
    row = rows(FolderSource(mine), tmp_path)[0]["up"]
    made = Image.open(io.BytesIO(prepared_photo((mine / "up.tif").read_bytes(), 0)))
    assert (row["width"], row["height"]) == made.size == (48, 64)


def xmp(**values):
    inside = " ".join(f'GPano:{name}="{value}"' for name, value in values.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        f'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" {inside}/></rdf:RDF></x:xmpmeta>'
    ).encode()


def test_xmp_says_which_photos_are_panoramas_and_where_they_look(mine, tmp_path, make_exif):
    exif = make_exif(8.54, 47.37)
    sphere = xmp(ProjectionType="equirectangular", PoseHeadingDegrees=123.5)
    (mine / "sphere.jpg").write_bytes(encoded("JPEG", (64, 32), exif=exif, xmp=sphere))
    strip = xmp(ProjectionType="cylindrical")
    (mine / "strip.jpg").write_bytes(encoded("JPEG", (64, 16), exif=exif, xmp=strip))
    listed, _ = rows(FolderSource(mine), tmp_path)
    assert listed["sphere"]["is_pano"]
    assert listed["sphere"]["camera_type"] == "spherical"
    assert listed["sphere"]["heading_deg"] == 123.5
    assert listed["strip"]["status"] == "failed"
    assert listed["strip"]["reason"] == "a panorama in cylindrical projection"


def test_a_photo_replaced_under_its_name_changes_what_is_found(mine, write, tmp_path, make_jpeg):
    import piexif

    write("a.jpg", 5, (8.54, 47.37))
    source = FolderSource(mine, cache_dir=tmp_path / "cache")
    look = {"work": tmp_path, "refresh": True, "progress": no_progress}
    first = source.discover(AREA, **look).found
    body = (mine / "a.jpg").read_bytes()
    (mine / "a.jpg").write_bytes(body)
    assert source.discover(AREA, **look).found.equals(first), "the same photo, copied again"
    exif = piexif.dump(piexif.load(body))
    (mine / "a.jpg").write_bytes(make_jpeg(seed=7, exif=exif))
    second = source.discover(AREA, **look).found
    assert second.drop(["photo_digest"]).equals(first.drop(["photo_digest"]))
    assert not second.equals(first)


def test_a_second_look_reads_no_header_again_unless_the_file_changed(
    mine, write, tmp_path, monkeypatch
):
    from citysplat_core.imagery import folder_headers

    read = []
    real = folder_headers.read_exif
    monkeypatch.setattr(folder_headers, "read_exif", lambda p: read.append(p) or real(p))
    for number in range(5):
        write(f"{number}.jpg", 5, (8.54, 47.37))
    source = FolderSource(mine, cache_dir=tmp_path / "cache")
    first = rows(source, tmp_path)
    assert len(read) == 5
    assert repr(rows(source, tmp_path)) == repr(first)
    assert len(read) == 5
    write("3.jpg", 6, (8.541, 47.37))
    assert rows(source, tmp_path)[0]["3"]["lon"] == pytest.approx(8.541)
    assert len(read) == 6


def test_what_a_city_keeps_beside_its_photos_is_not_taken_for_photos(mine, write, tmp_path):
    from citysplat_core.imagery import open_source
    from citysplat_core.settings import SourceSettings

    write("a.jpg", 5, (8.54, 47.37))
    (mine / "cache" / "photos").mkdir(parents=True)
    (mine / "cache" / "photos" / "b.jpg").write_bytes((mine / "a.jpg").read_bytes())
    settings = SourceSettings(kind="folder", path=".")
    source = open_source(settings, mine, token=None, cache_dir=mine / "cache")
    out = tmp_path / "out"
    out.mkdir()
    report = discover_images(AREA, source=source, out=out, work=tmp_path, progress=no_progress)
    assert report.counts["images_found"] == 1
