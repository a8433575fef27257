import os

import cv2
import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from citysplat_core.errors import DiscoveryError, ImageError
from citysplat_core.geography import Area
from citysplat_core.imagery import (
    FolderSource,
    IdentityRegistry,
    build_catalog,
    discover_images,
    fetch_box_images,
    score_photo,
)
from citysplat_core.imagery.tables import CAMERAS_SCHEMA, IMAGES_SCHEMA
from citysplat_core.settings import MaskSettings, PanoramaSettings, PhotoSettings
from citysplat_core.storage import no_progress


class City:
    """The steps before the photos, and a plan with everything in one box."""

    def __init__(self, root, source, area, frame):
        self.root, self.source, self.frame = root, source, frame
        self.ledger, self.catalog = root / "ledger", root / "catalog"
        for path in (self.ledger, self.catalog, root / "w"):
            path.mkdir(parents=True)
        options = {"source": source, "work": root / "w", "progress": no_progress}
        discover_images(area, out=self.ledger, **options)
        registry = IdentityRegistry(root / "identity.sqlite")
        only_photos = PanoramaSettings(use="exclude")
        build_catalog(
            self.ledger, registry=registry, panoramas=only_photos, out=self.catalog, **options
        )
        rows = gpd.read_parquet(self.catalog / "catalog.parquet").query("status == 'listed'")
        enu = frame.enu(rows.lon, rows.lat, rows.altitude_m)
        self.write_plan(rows, enu)

    def write_plan(self, rows, enu):
        plan = {
            "image_id": rows.image_id.tolist(), "colmap_id": rows.colmap_id.astype("int32"),
            "box": ["home"] * len(rows), "lon": rows.lon, "lat": rows.lat, "east_m": enu[:, 0],
            "north_m": enu[:, 1], "up_m": enu[:, 2], "heading_deg": rows.heading_deg,
            "position_source": ["gps"] * len(rows),
        }  # fmt: skip
        self.plan = self.root / "plan.parquet"
        pq.write_table(pa.table(plan), self.plan)

    def fetch(self, name, box="home", source=None, mask_sources=(), **settings):
        out = self.root / name
        out.mkdir()
        report = fetch_box_images(
            box, plan_images=self.plan, catalog=self.catalog, source=source or self.source,
            photo_cache=self.root / "photos", frame=self.frame, out=out, work=self.root / "w",
            settings=PhotoSettings(**{"min_sun_deg": None} | settings),
            masks=MaskSettings(sources=mask_sources), n_threads=2, progress=no_progress,
        )  # fmt: skip
        images = pq.read_table(out / "images.parquet")
        cameras = pq.read_table(out / "cameras.parquet")
        assert images.schema.equals(IMAGES_SCHEMA)
        assert cameras.schema.equals(CAMERAS_SCHEMA)
        return report, images.to_pandas(), cameras.to_pylist(), out


@pytest.fixture
def city(service, frame):
    return City(service.folder / "city", service.source(), service.area, frame)


def test_the_photos_of_a_box_are_whole_and_described(city, service):
    report, images, cameras, out = city.fetch("box")
    assert report.counts["images"] == len(images) > 100
    assert report.counts["ok"] == len(images) == len(list((out / "photos").iterdir()))
    assert images.colmap_id.is_monotonic_increasing
    ok = images[images.status == "ok"]
    assert set(ok.camera_id) == {camera["camera_id"] for camera in cameras}
    assert np.isfinite(ok[["blur_score", "luminance_mean", "luminance_std", "east_m"]]).all(
        axis=None
    )
    for row in ok.head(5).itertuples():
        path = out / "photos" / f"{row.image_id}.jpg"
        assert path.stat().st_size == row.size_bytes
        assert path.read_bytes() == service.server.state.images.jpeg(row.image_id)
    assert "CC BY-SA 4.0" in (out / "ATTRIBUTION.md").read_text()


def test_photos_are_links_into_the_cache_and_the_second_run_fetches_none(city, service):
    _, images, _, out = city.fetch("box")
    photo = next((out / "photos").iterdir())
    assert photo.stat().st_nlink == 2
    before = service.count("cdn")
    _, again, _, _ = city.fetch("again")
    assert service.count("cdn") == before
    assert again.equals(images)


def test_changing_mask_settings_fetches_no_photo_again(city, service):
    plain, images, _, _ = city.fetch("box")
    assert set(images["mask"].dropna()) == {"none"}
    before = service.count("cdn")
    report, masked, _, _ = city.fetch("masked", mask_sources=("sequence", "detections"))
    assert service.count("cdn") == before
    ok = masked[masked.status == "ok"]
    assert (masked.status == images.status).all()
    assert ok["mask"].str.contains("missing: no detections").all()
    assert report.counts["mask missing: no detections"] == len(ok)
    assert report.counts["content_digest"] == plain.counts["content_digest"]  # no mask, no news
    asked = service.count("graph")
    city.fetch("again", mask_sources=("detections",))
    assert service.count("graph") == asked


def test_photos_are_copied_when_they_cannot_be_linked(city, monkeypatch):
    def refuse(*_args):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    report, _, _, out = city.fetch("box")
    assert len(list((out / "photos").iterdir())) == report.counts["ok"]


def test_blurred_and_dark_photos_are_rejected_when_asked(city):
    _, images, _, _ = city.fetch("all", min_blur_score=None)
    cut = float(images.blur_score.median())
    report, images, _, out = city.fetch("sharp", min_blur_score=cut)
    assert report.counts["blurred"] == (images.reason == "blurred").sum() > 50
    assert np.isfinite(images[images.reason == "blurred"].blur_score).all()
    assert len(list((out / "photos").iterdir())) == report.counts["ok"]
    report, *_ = city.fetch("dark", min_luminance=255.0)
    assert report.counts["ok"] == 0
    assert "too dark" in report.skipped


def test_a_failed_photo_is_recorded_with_its_reason_and_the_others_go_on(city, service):
    catalog = gpd.read_parquet(city.catalog / "catalog.parquet")
    victim, deleted = catalog[~catalog.is_pano].image_id.tolist()[:2]
    service.control("script", kind="cdn_truncate", match=victim, times=1000)
    service.control("delete", ids=[deleted])
    report, images, _, out = city.fetch("box")
    images = images.set_index("image_id")
    assert images.status[victim] == "failed"
    assert "cut off" in images.reason[victim]
    assert report.counts["deleted at the source"] == 1
    assert not (out / "photos" / f"{victim}.jpg").exists()


def test_when_most_photos_fail_the_box_is_not_called_finished(city, service):
    service.control("config", p_cdn_500=1.0)
    with pytest.raises(DiscoveryError, match=r"Box home: .*unless the service is down"):
        city.fetch("box")


def test_a_box_without_photos_is_skipped_with_whole_tables(city):
    report, images, cameras, _ = city.fetch("box", box="elsewhere")
    assert report.skipped == "no photos"
    assert (len(images), len(cameras)) == (0, 0)


def test_a_plan_from_another_catalog_is_refused(city):
    table = pq.read_table(city.plan).to_pandas()
    table.loc[0, "image_id"] = "123"
    pq.write_table(pa.Table.from_pandas(table), city.plan)
    with pytest.raises(ImageError, match="not in the catalog"):
        city.fetch("box")


def test_a_camera_has_the_same_intrinsics_in_every_box(city):
    plan = pq.read_table(city.plan).to_pandas()
    plan["box"] = np.where(np.arange(len(plan)) % 2, "odd", "even")
    pq.write_table(pa.Table.from_pandas(plan), city.plan)
    _, _, odd, _ = city.fetch("odd", box="odd")
    _, _, even, _ = city.fetch("even", box="even")
    shared = {c["camera_id"]: c for c in odd}.keys() & {c["camera_id"] for c in even}
    assert shared
    by_id = {c["camera_id"]: c for c in even}
    assert all(by_id[c["camera_id"]] == c for c in odd if c["camera_id"] in shared)


def test_a_folder_goes_through_the_same_steps(tmp_path, make_jpeg, make_exif, frame):
    photos = tmp_path / "mine"
    photos.mkdir()
    for number in range(4):
        exif = make_exif(8.548 + number * 1e-5, 47.373)
        (photos / f"{number}.jpg").write_bytes(make_jpeg((64, 48), seed=number, exif=exif))
    whole = (photos / "3.jpg").read_bytes()
    (photos / "3.jpg").write_bytes(whole[: len(whole) // 2])
    city = City(
        tmp_path / "city", FolderSource(photos), Area.from_bounds("8.54,47.36,8.56,47.38"), frame
    )
    report, images, cameras, out = city.fetch("box", min_blur_score=None)
    assert images.status.tolist() == ["ok", "ok", "ok", "failed"]
    assert "cut off" in images.reason.tolist()[3]
    assert [camera["model"] for camera in cameras] == ["SIMPLE_RADIAL"]
    assert "supplied by the user" in (out / "ATTRIBUTION.md").read_text()
    assert report.counts["ok"] == 3


def test_changing_a_threshold_scores_and_fetches_nothing_again(city, service, monkeypatch):
    scored = []

    def count(body):
        scored.append(body)
        return score_photo(body)

    monkeypatch.setattr("citysplat_core.imagery.score_store.score_photo", count)
    first, images, _, _ = city.fetch("first")
    n_scored = len(scored)
    assert n_scored >= images.sha256.nunique()
    before = service.count("cdn")
    cut = float(images.blur_score.median())
    strict, stricter_images, *_ = city.fetch("strict", min_blur_score=cut, duplicate_bits=None)
    assert strict.counts["ok"] < first.counts["ok"]
    assert len(scored) == n_scored
    assert service.count("cdn") == before
    scores = ["blur_score", "crete", "laplacian", "dark_share", "bright_share", "dhash"]
    assert stricter_images[scores].equals(images[scores]), "refused photos keep their scores"
    assert strict.counts["content_digest"] != first.counts["content_digest"]


def test_a_threshold_that_changes_no_verdict_changes_no_content(city):
    first, *_ = city.fetch("first", max_bright_share=0.6)
    second, *_ = city.fetch("second", max_bright_share=0.61)
    assert first.counts["content_digest"] == second.counts["content_digest"]


def test_photos_refused_by_their_metadata_are_never_fetched(city, service):
    report, images, _, _ = city.fetch("box", min_sun_deg=89.0)
    assert report.counts["night"] == len(images) == report.counts["rejected"]
    assert "night" in report.skipped
    assert service.count("cdn") == 0


def test_a_photo_that_rots_in_the_cache_is_fetched_again(city, service):
    _, images, _, out = city.fetch("first")
    victim = images.image_id.iloc[0]
    rotten = next((city.root / "photos" / "1024").rglob(f"{victim}.jpg"))
    (out / "photos" / f"{victim}.jpg").unlink()  # a link to the same file
    body = bytearray(rotten.read_bytes())
    body[len(body) // 2] ^= 0xFF
    rotten.write_bytes(body)
    before = service.count("cdn")
    report, _, _, again = city.fetch("again")
    assert service.count("cdn") == before + 1
    assert report.counts["failed"] == 0
    whole = service.server.state.images.jpeg(victim)
    assert (again / "photos" / f"{victim}.jpg").read_bytes() == whole


def test_a_failed_photo_is_complete_after_a_second_run(city, service):
    catalog = gpd.read_parquet(city.catalog / "catalog.parquet")
    victim = catalog[~catalog.is_pano].image_id.iloc[0]
    service.control("script", kind="cdn_corrupt", match=victim, times=8)
    first, images, *_ = city.fetch("first")
    assert first.counts["failed"] == first.counts["failed_to_retry"] == 1
    second, images, *_ = city.fetch("second")
    assert second.counts["failed"] == 0
    assert set(images.status) == {"ok"}


def test_a_box_shows_its_least_sharp_and_its_best_refused_photos(city):
    report, *_ = city.fetch("box", min_blur_score=-2.5)
    assert report.counts["blurred"] > 0
    (sheet,) = report.previews.values()
    pixels = cv2.imread(str(sheet))
    assert pixels.shape[1] == 720
    assert 2 * 172 <= pixels.shape[0] <= 1000


def test_the_estimate_comes_before_the_first_photo(city):
    told = []
    out = city.root / "told"
    out.mkdir()
    fetch_box_images(
        "home", plan_images=city.plan, catalog=city.catalog, source=city.source,
        photo_cache=city.root / "photos", frame=city.frame, out=out, work=city.root / "w",
        settings=PhotoSettings(min_sun_deg=None), masks=MaskSettings(sources=()), n_threads=2,
        progress=lambda *news: told.append(news),
    )  # fmt: skip
    done, total, note = told[0]
    assert (done, total) == (0, len(list((out / "photos").iterdir())))
    assert "photos to fetch, about" in note
    assert "GB are free" in note
