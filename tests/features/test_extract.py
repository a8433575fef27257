import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.errors import FeatureError, StorageError
from citysplat_core.settings import FeatureSettings
from tests.features.extracting import rows_of, run


def test_every_usable_photo_gets_features_under_its_global_id(tmp_path, drawn_box):
    out, report = run(tmp_path, drawn_box(3))
    assert sorted(path.name for path in out.iterdir()) == ["features.db", "features.parquet"]
    table = pd.read_parquet(out / "features.parquet")
    assert table["image_id"].tolist() == ["photo0", "photo1", "photo2"]
    assert table["colmap_id"].tolist() == [41, 42, 43]
    assert (table["n_keypoints"] > 50).all()
    assert report.counts["n_keypoints"] == table["n_keypoints"].sum()
    with pycolmap.Database.open(out / "features.db") as database:
        assert [image.name for image in database.read_all_images()] == [
            "photo0.jpg", "photo1.jpg", "photo2.jpg",
        ]  # fmt: skip
        assert database.num_descriptors_for_image(42) == table["n_keypoints"][1]
        assert database.read_all_cameras()[0].has_prior_focal_length
        prior = database.read_all_pose_priors()[2]
    np.testing.assert_allclose(prior.position, [4.0, 0.0, 0.0])
    assert prior.position_covariance[0, 0] == FeatureSettings().prior_std_m ** 2


def test_the_result_does_not_depend_on_threads(tmp_path, drawn_box):
    box = drawn_box(4)
    one, _ = run(tmp_path, box, tag="one", threads=1)
    two, _ = run(tmp_path, box, tag="two", threads=2)
    query = "SELECT image_id, data FROM descriptors ORDER BY image_id"
    assert rows_of(one / "features.db", query) == rows_of(two / "features.db", query)


def test_a_killed_run_goes_on_with_the_photos_that_are_left(tmp_path, drawn_box, monkeypatch):
    monkeypatch.setattr("citysplat_core.features.extraction.CHUNK_SIZE", 2)
    box = drawn_box(5)

    def stop_at_two(done: int, total: int, note: str) -> None:
        if done >= 2:
            raise KeyboardInterrupt(f"{done} of {total} {note}")

    with pytest.raises(KeyboardInterrupt, match="2 of 5 photos"):
        run(tmp_path, box, progress=stop_at_two)
    assert not list((tmp_path / "out").iterdir())
    seen = []
    out, _ = run(tmp_path, box, progress=lambda done, total, _note: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    whole, _ = run(tmp_path, box, tag="whole")
    query = "SELECT image_id, rows, data FROM keypoints ORDER BY image_id"
    assert rows_of(out / "features.db", query) == rows_of(whole / "features.db", query)


def test_a_half_made_working_database_is_made_again(tmp_path, drawn_box):
    (tmp_path / "out-work").mkdir()
    (tmp_path / "out-work" / "features.part.db").write_bytes(b"half of a database")
    out, _ = run(tmp_path, drawn_box(1))
    assert len(pd.read_parquet(out / "features.parquet")) == 1


def test_a_blank_photo_is_counted_and_keeps_its_row(tmp_path, drawn_box):
    out, report = run(tmp_path, drawn_box(3, n_blank=1))
    assert report.counts["n_featureless"] == 1
    assert pd.read_parquet(out / "features.parquet")["n_keypoints"][0] == 0
    with pycolmap.Database.open(out / "features.db") as database:
        assert database.exists_keypoints(41)
        assert len(database.read_keypoints(41)) == 0


def test_a_box_of_blank_photos_is_an_error(tmp_path, drawn_box):
    with pytest.raises(FeatureError, match="Box 0213: none of 2 photos gave a keypoint"):
        run(tmp_path, drawn_box(2, n_blank=2))


def test_a_box_without_usable_photos_is_skipped_with_whole_files(tmp_path, drawn_box):
    out, report = run(tmp_path, drawn_box(0))
    assert report.skipped == "the box has no usable photo"
    assert len(pd.read_parquet(out / "features.parquet")) == 0
    with pycolmap.Database.open(out / "features.db") as database:
        assert database.num_images() == 0


def test_a_missing_photo_is_an_error_before_any_work(tmp_path, drawn_box):
    box = drawn_box(3)
    (box / "photos" / "photo1.jpg").unlink()
    with pytest.raises(FeatureError, match=r"1 of 3 photos are not on disk \(photo1.jpg\)"):
        run(tmp_path, box)


def test_max_features_bounds_the_keypoints(tmp_path, drawn_box):
    out, _ = run(tmp_path, drawn_box(1), max_features=128)
    few = pd.read_parquet(out / "features.parquet")["n_keypoints"][0]
    out, _ = run(tmp_path, drawn_box(1, name="again"), tag="more")
    assert few < pd.read_parquet(out / "features.parquet")["n_keypoints"][0]


def test_a_damaged_working_database_is_an_error_with_a_remedy(tmp_path, drawn_box):
    (tmp_path / "out-work").mkdir()
    (tmp_path / "out-work" / "features.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match=r"features.db cannot be used: file is not a database"):
        run(tmp_path, drawn_box(1))


def test_what_a_photo_costs_on_disk_is_counted(tmp_path, drawn_box):
    out, report = run(tmp_path, drawn_box(2))
    counts = report.counts
    per_photo = counts["n_keypoints"] / 2
    assert counts["keypoint_bytes_per_photo"] == pytest.approx(8 * per_photo, abs=1)
    assert counts["descriptor_bytes_per_photo"] == pytest.approx(128 * per_photo, abs=1)
    assert counts["database_bytes"] == (out / "features.db").stat().st_size


def test_dropped_keypoints_leave_no_empty_space_in_the_file(tmp_path, drawn_box):
    out, report = run(tmp_path, drawn_box(3))
    data = 3 * sum(report.counts[f"{what}_bytes_per_photo"] for what in ("keypoint", "descriptor"))
    assert report.counts["database_bytes"] < data + 250_000
    assert rows_of(out / "features.db", "PRAGMA freelist_count") == [(0,)]
