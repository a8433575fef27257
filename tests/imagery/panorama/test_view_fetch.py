import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from citysplat_core.imagery import PhotoResult, PhotoStore
from citysplat_core.imagery.panorama import ViewFetch, add_views, encode_view
from citysplat_core.imagery.source import fetched
from citysplat_core.imagery.tables import DESCRIBED_SCHEMA, table_of
from citysplat_core.settings import PanoramaSettings
from citysplat_core.storage import no_progress

SMALL = PanoramaSettings(view_width_px=96, view_height_px=72, yaw_deg=(0.0, 90.0, 180.0))
SKY, ROAD = (90, 150, 220), (70, 70, 70)


def panorama(width=512, height=256):
    """Blue above the horizon, grey below, with a red post ahead and a green one behind."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[: height // 2], picture[height // 2 :] = SKY, ROAD
    middle = slice(height // 2 - height // 8, height // 2 + height // 8)
    picture[middle, width // 2 - 4 : width // 2 + 4] = (220, 20, 20)
    picture[middle, :4] = picture[middle, -4:] = (20, 200, 20)
    return encode_view(picture)


class Source:
    """Photos out of a dictionary; counts what it is asked for."""

    def __init__(self, bodies, name="mapillary"):
        self.name, self.bodies, self.asked = name, bodies, []

    def fetch_photos(self, wanted, store, *, size_px, n_threads, progress):
        del n_threads, progress
        results = []
        for request in wanted:
            photo = store.find(request.image_id, size_px)
            if photo is None:
                self.asked.append((request.image_id, size_px, request.photo_ref))
                body = self.bodies.get(request.image_id)
                if body is None:
                    results.append(PhotoResult(image_id=request.image_id, state="gone", reason="x"))
                    continue
                photo = store.save(request.image_id, size_px, body)
            results.append(fetched(request.image_id, photo))
        return results


def rows(settings=SMALL, **facts):
    pano = {"image_id": "p", "camera_type": "spherical", "is_pano": True, "status": "listed",
            "source": "mapillary", "photo_ref": "p.jpg"}  # fmt: skip
    plain = {"image_id": "a", "camera_type": "perspective", "is_pano": False, "status": "listed"}
    table = add_views(table_of([plain, pano | facts], DESCRIBED_SCHEMA), settings)
    return [row for row in table.to_pylist() if row["status"] == "listed"]


@pytest.fixture
def bring(tmp_path):
    def run(source, wanted, settings=SMALL, size_px=1024):
        fetch = ViewFetch(
            source=source, store=PhotoStore(tmp_path / "photos"), size_px=size_px,
            panoramas=settings, n_threads=2, progress=no_progress,
        )  # fmt: skip
        return fetch.fetch(wanted)

    return run


@pytest.fixture
def source():
    return Source({"a": encode_view(np.zeros((48, 64, 3), np.uint8)), "p": panorama()})


def middle_of(result):
    from PIL import Image

    picture = np.asarray(Image.open(result.path))
    return picture[picture.shape[0] // 2, picture.shape[1] // 2].astype(int)


def test_a_panorama_is_fetched_once_and_each_view_shows_its_side(bring, source):
    results = bring(source, rows())
    assert [result.image_id for result in results] == ["a", "p~v0", "p~v1", "p~v2"]
    assert {result.state for result in results} == {"ok"}
    assert source.asked == [("a", 1024, None), ("p", 0, "p.jpg")]
    assert {(r.width, r.height) for r in results[1:]} == {(96, 72)}
    red, side, green = (middle_of(result) for result in results[1:])
    assert red[0] > 150 > red[1]
    assert abs(side - ROAD).max() < 40 or abs(side - SKY).max() < 40
    assert green[1] > 120 > green[0]


def test_what_is_cut_is_not_asked_for_or_cut_again(bring, source, monkeypatch):
    first = bring(source, rows())
    source.asked.clear()
    monkeypatch.setattr("citysplat_core.imagery.panorama.view_fetch.cut_view", None)
    assert bring(source, rows()) == first
    assert source.asked == []


def test_another_rig_cuts_again_from_the_kept_panorama(bring, source):
    first = bring(source, rows())
    source.asked.clear()
    turned = PanoramaSettings(**SMALL.model_dump() | {"yaw_deg": (180.0, 90.0, 0.0)})
    again = bring(source, rows(turned), turned)
    assert source.asked == []
    assert middle_of(again[1])[1] > 120  # the post behind
    assert again[2] == first[2]


def test_a_panorama_that_is_not_kept_is_fetched_again_only_for_other_views(bring, source, tmp_path):
    lean = PanoramaSettings(**SMALL.model_dump() | {"keep_downloads": False})
    bring(source, rows(lean), lean)
    assert not list((tmp_path / "photos" / "original").rglob("*.jpg"))
    source.asked.clear()
    bring(source, rows(lean), lean)
    assert source.asked == []
    steep = PanoramaSettings(**lean.model_dump() | {"pitch_deg": 20.0})
    bring(source, rows(steep), steep)
    assert source.asked == [("p", 0, "p.jpg")]


def test_a_changed_panorama_of_a_folder_is_cut_again(bring, source, tmp_path):
    source.name = "folder"
    first = bring(source, rows(source="folder"))
    flipped = Source({"a": source.bodies["a"], "p": encode_view(np.full((256, 512, 3), 200, "u1"))})
    flipped.name = "folder"
    next((tmp_path / "photos" / "original").rglob("p.jpg")).unlink()
    again = bring(flipped, rows(source="folder"))
    assert [r.sha256 for r in again[1:]] != [r.sha256 for r in first[1:]]
    assert middle_of(again[1]).min() > 190


def test_views_of_a_panorama_that_is_gone_are_gone(bring, source):
    del source.bodies["p"]
    results = bring(source, rows())
    assert [result.state for result in results] == ["ok", "gone", "gone", "gone"]


def test_a_file_that_is_no_sphere_fails_with_its_size_and_leaves_no_view(bring, source, tmp_path):
    source.bodies["p"] = encode_view(np.zeros((96, 128, 3), np.uint8))
    results = bring(source, rows())
    assert [result.state for result in results] == ["ok", "failed", "failed", "failed"]
    assert "128 x 96" in results[1].reason
    assert [path.name for path in (tmp_path / "photos").rglob("*.jpg")] == ["a.jpg"]


def test_a_panorama_that_is_damaged_inside_is_dropped_so_that_it_is_fetched_again(bring, source):
    whole = source.bodies["p"]
    middle = len(whole) // 2
    source.bodies["p"] = whole[:middle] + b"\xff\xd8" * 60 + whole[middle + 120 :]
    assert bring(source, rows())[1].state == "failed"
    source.bodies["p"] = whole
    assert bring(source, rows())[1].state == "ok"


def test_ids_of_views_are_safe_names_in_tables(tmp_path):
    wanted = [row["image_id"] for row in rows()]
    pq.write_table(pa.table({"image_id": wanted}), tmp_path / "t.parquet")
    found = pq.read_table(tmp_path / "t.parquet", filters=[("image_id", "==", "p~v1")])
    assert found.column("image_id").to_pylist() == ["p~v1"]
