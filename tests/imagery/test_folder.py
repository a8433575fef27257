import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from citysplat_core.errors import ConfigError, DiscoveryError, ImageError
from citysplat_core.geography import Area
from citysplat_core.imagery import (
    FolderSource,
    IdentityRegistry,
    PhotoRequest,
    PhotoStore,
    build_catalog,
    discover_images,
)
from citysplat_core.storage import no_progress

AREA = Area.from_bounds("8.53,47.36,8.55,47.38")


@pytest.fixture
def folder(tmp_path, make_jpeg, make_exif):
    root = tmp_path / "mine"
    (root / "walk").mkdir(parents=True)
    for number in range(3):
        exif = make_exif(8.54 + number * 1e-4, 47.37)
        (root / "walk" / f"{number}.jpg").write_bytes(make_jpeg(exif=exif, seed=number))
    (root / "bare.jpg").write_bytes(make_jpeg())
    (root / "notes.txt").write_text("no photo")
    return root


def discover(source, tmp_path, area=AREA):
    return source.discover(area, work=tmp_path, refresh=False, progress=no_progress)


def test_photos_are_found_where_their_exif_says(folder, tmp_path):
    result = discover(FolderSource(folder), tmp_path)
    assert result.found.column("image_id").to_pylist() == ["walk~0", "walk~1", "walk~2"]
    assert result.found.column("lon").to_pylist() == pytest.approx([8.54, 8.5401, 8.5402])
    assert result.notes == {
        "photos_without_position": 1,
        "photos_unreadable": 0,
        "photos_outside_area": 0,
    }
    assert set(result.tiles.column("state").to_pylist()) <= {"complete", "empty"}
    assert sum(result.tiles.column("n_images").to_pylist()) == 3


def test_a_photo_without_position_is_recorded_as_failed_and_the_others_go_on(folder, tmp_path):
    ledger, out = tmp_path / "ledger", tmp_path / "catalog"
    ledger.mkdir()
    out.mkdir()
    source = FolderSource(folder)
    report = discover_images(AREA, source=source, out=ledger, work=tmp_path, progress=no_progress)
    assert report.counts["photos_without_position"] == 1
    report = build_catalog(
        ledger, source=source, registry=IdentityRegistry(tmp_path / "identity.sqlite"), out=out,
        work=tmp_path, progress=no_progress,
    )  # fmt: skip
    assert report.counts["listed"] == 3
    assert report.counts["failed: no GPS position"] == 1
    import geopandas as gpd

    rows = gpd.read_parquet(out / "catalog.parquet").set_index("image_id")
    assert rows.status["bare"] == "failed"
    assert rows.reason["bare"] == "no GPS position"
    assert np.isnan(rows.lon["bare"])
    assert rows.geometry["bare"] is None
    assert rows.photo_ref["walk~1"] == "walk/1.jpg"


def test_a_file_that_is_no_photo_is_recorded_and_the_others_go_on(folder, tmp_path):
    (folder / "fake.jpg").write_text("hello")
    source = FolderSource(folder)
    result = discover(source, tmp_path)
    assert result.found.num_rows == 3
    assert result.notes["photos_unreadable"] == 1
    rows = source.describe(result.found, work=tmp_path, progress=no_progress).to_pylist()
    reasons = {row["image_id"]: row["reason"] for row in rows if row["status"] == "failed"}
    assert reasons == {"bare": "no GPS position", "fake": "no readable photo"}


def test_a_folder_in_which_no_photo_has_a_position_is_an_error(tmp_path, make_jpeg):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(make_jpeg())
    with pytest.raises(DiscoveryError, match="photos_without_position 1"):
        discover_images(
            AREA, source=FolderSource(tmp_path / "photos"), out=tmp_path, work=tmp_path,
            progress=no_progress,
        )  # fmt: skip


def test_photos_outside_the_area_are_counted(folder, tmp_path):
    result = discover(
        FolderSource(folder), tmp_path, Area.from_bounds("8.5399,47.36,8.54005,47.38")
    )
    assert result.found.num_rows == 1
    assert result.notes["photos_outside_area"] == 2


def test_a_missing_or_empty_folder_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        FolderSource(tmp_path / "none")
    with pytest.raises(ConfigError, match="holds no photo"):
        discover(FolderSource(tmp_path), tmp_path)


def test_two_photos_with_one_id_are_refused(folder, tmp_path):
    (folder / "bare.png").write_bytes((folder / "bare.jpg").read_bytes())
    with pytest.raises(ImageError, match="would both be image 'bare'"):
        discover(FolderSource(folder), tmp_path)


def write_csv(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_csv_places_photos_and_wins_over_exif(folder, tmp_path):
    table = write_csv(
        folder / "positions.csv",
        [
            {"id": "x/1", "file": "bare.jpg", "lon": 8.541, "lat": 47.371, "altitude": 410,
             "compass_angle": "", "captured_at": 1402136645656, "sequence_id": "s", "width": 9999},
            {"id": "x/2", "file": "walk/0.jpg", "lon": "", "lat": "", "altitude": "",
             "compass_angle": 20.5, "captured_at": "2024-05-01T10:00:00Z", "sequence_id": "s",
             "width": ""},
            {"id": "x/3", "file": "walk/9.jpg", "lon": 8.54, "lat": 47.37, "altitude": "",
             "compass_angle": "", "captured_at": "", "sequence_id": "", "width": ""},
        ],
    )  # fmt: skip
    source = FolderSource(folder, table)
    found = discover(source, tmp_path).found
    assert found.column("image_id").to_pylist() == ["x~1", "x~2"]
    rows = source.describe(found, work=tmp_path, progress=no_progress).to_pylist()
    first, second, third = rows
    assert (first["lon"], first["altitude_m"]) == (8.541, 410.0)
    assert first["width"] == 64, "the file's own size, not the table's"
    assert np.isnan(first["heading_deg"])
    assert first["captured_at"] == datetime(2014, 6, 7, 10, 24, 5, 656_000, UTC)
    assert second["lon"] == pytest.approx(8.54), "the table says nothing, EXIF does"
    assert second["heading_deg"] == 20.5
    assert (third["status"], third["reason"]) == (
        "failed",
        "the file that the CSV names does not exist",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,lon,lat\n1,2,3\n", "no column file"),
        ("file,lon,lat\na.jpg,eight,47\n", "line 2 of .*eight"),
        ("file,lon,lat\na.jpg,8,47\nb.jpg,200,47\n", "line 3 of .*not on the globe"),
        ("file,lon,lat\n,8,47\n", "no file name"),
    ],
)
def test_a_wrong_csv_names_the_line(folder, tmp_path, text, message):
    path = tmp_path / "positions.csv"
    path.write_text(text)
    with pytest.raises(ImageError, match=message):
        discover(FolderSource(folder, path), tmp_path)


def fetch(source, store, refs, size_px=1024):
    wanted = [PhotoRequest(image_id=ref.split(".")[0], photo_ref=ref) for ref in refs]
    return source.fetch_photos(wanted, store, size_px=size_px, n_threads=2, progress=no_progress)


def test_a_small_photo_is_copied_byte_for_byte_and_a_large_one_is_reduced(
    folder, tmp_path, make_jpeg
):
    (folder / "large.jpg").write_bytes(make_jpeg((1200, 900)))
    store = PhotoStore(tmp_path / "store")
    small, large = fetch(FolderSource(folder), store, ["bare.jpg", "large.jpg"], size_px=600)
    assert small.path.read_bytes() == (folder / "bare.jpg").read_bytes()
    assert (large.width, large.height) == (600, 450)


def test_a_turned_photo_is_made_upright(folder, tmp_path, make_jpeg):
    import piexif

    exif = piexif.dump({"0th": {piexif.ImageIFD.Orientation: 6}})
    (folder / "turned.jpg").write_bytes(make_jpeg((64, 48), exif=exif))
    (photo,) = fetch(FolderSource(folder), PhotoStore(tmp_path / "store"), ["turned.jpg"])
    assert (photo.width, photo.height) == (48, 64)


def test_bad_files_fail_with_a_reason_and_the_others_go_on(folder, tmp_path):
    (folder / "cut.jpg").write_bytes((folder / "bare.jpg").read_bytes()[:-300])
    (folder / "text.jpg").write_text("no photo at all")
    refs = ["cut.jpg", "text.jpg", "lost.jpg", "bare.jpg"]
    results = fetch(FolderSource(folder), PhotoStore(tmp_path / "store"), refs)
    assert [result.state for result in results] == ["failed", "failed", "gone", "ok"]
    assert "cut off" in results[0].reason
    assert "no whole photo" in results[1].reason


def test_a_photo_that_was_replaced_is_copied_again(folder, tmp_path, make_jpeg):
    store, source = PhotoStore(tmp_path / "store"), FolderSource(folder)
    (old,) = fetch(source, store, ["bare.jpg"])
    (folder / "bare.jpg").write_bytes(make_jpeg(seed=9))
    (new,) = fetch(source, store, ["bare.jpg"])
    assert old.sha256 != new.sha256


def test_the_photos_of_a_user_are_never_changed(folder, tmp_path):
    before = {p: p.read_bytes() for p in folder.rglob("*.jpg")}
    (photo,) = fetch(FolderSource(folder), PhotoStore(tmp_path / "store"), ["bare.jpg"])
    photo.path.write_bytes(b"overwritten in the cache")
    assert {p: p.read_bytes() for p in folder.rglob("*.jpg")} == before


def test_the_real_street_is_read_whole(real_data, tmp_path):
    folder = real_data / "lund_street"
    source = FolderSource(folder, folder / "metadata.csv")
    area = Area.from_bounds("13.19,55.69,13.20,55.70")
    found = discover(source, tmp_path, area).found
    described = source.describe(found, work=tmp_path, progress=no_progress)
    assert described.num_rows == 29
    row = described.to_pylist()[0]
    assert (row["image_id"], row["make"], row["model"]) == ("lund_01", "Apple", "iPhone4,1")
    assert row["focal_ratio"] == pytest.approx(35 / 36)
    assert row["altitude_m"] == 37.0
    refs = [PhotoRequest(image_id=r["image_id"], photo_ref=r["photo_ref"])
            for r in described.to_pylist()]  # fmt: skip
    results = source.fetch_photos(
        refs, PhotoStore(tmp_path / "store"), size_px=1024, n_threads=2, progress=no_progress
    )
    assert {(r.state, r.width, r.height) for r in results} == {("ok", 1024, 768)}


@pytest.mark.parametrize(
    ("name", "bounds"),
    [("caliterra_aerial", "-98.1,30.1,-98.0,30.2"), ("gopro_walkway", "-117.4,33.1,-117.3,33.2")],
)
def test_other_real_folders_are_read_whole(real_data, tmp_path, name, bounds):
    folder = real_data / name
    listed = list(csv.DictReader((folder / "metadata.csv").read_text().splitlines()))
    source = FolderSource(folder, folder / "metadata.csv")
    found = discover(source, tmp_path, Area.from_bounds(bounds)).found
    assert found.num_rows == len(listed)
    described = source.describe(found, work=tmp_path, progress=no_progress)
    assert json.dumps(sorted(set(described.column("status").to_pylist()))) == '["listed"]'
