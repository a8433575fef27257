import json
import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.errors import StorageError
from citysplat_core.features.database import read_pair_counts
from citysplat_core.matching import match_box, match_fringe
from citysplat_core.matching.table import COLUMNS
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import no_progress

FILES = ["graph.png", "matches.db", "pairs.parquet", "report.json", "tried.parquet"]


def run_box(
    tmp_path, images, features, *, tag="out", settings=None, progress=no_progress, threads=1
):
    out, work = tmp_path / tag, tmp_path / f"{tag}-work"
    out.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    report = match_box(
        "0213",
        box_images=images,
        box_features=features,
        out=out,
        work=work,
        settings=settings or MatchingSettings(),
        n_threads=threads,
        progress=progress,
    )
    return out, report


def run_fringe(tmp_path, boxes, members):
    out, work = tmp_path / "fringe", tmp_path / "fringe-work"
    out.mkdir()
    work.mkdir()
    pd.DataFrame(members, columns=["fringe", "box", "image_id", "colmap_id"]).to_parquet(
        tmp_path / "fringe_images.parquet"
    )
    (images_a, features_a), (images_b, features_b) = boxes
    report = match_fringe(
        "0213--0231",
        images_a=images_a,
        images_b=images_b,
        features_a=features_a,
        features_b=features_b,
        fringe_images=tmp_path / "fringe_images.parquet",
        out=out,
        work=work,
        settings=MatchingSettings(),
        n_threads=1,
        progress=no_progress,
    )
    return out, report


def members_of(table, box):
    return [("0213--0231", box, row.image_id, row.colmap_id) for row in table.itertuples()]


def test_a_street_is_matched_and_written_without_descriptors(tmp_path, street, box_of):
    out, report = run_box(tmp_path, *box_of("a", street.cameras(), street))
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert not report.skipped
    table = pd.read_parquet(out / "pairs.parquet")
    assert tuple(table.columns) == COLUMNS
    assert (table["colmap_id_a"] < table["colmap_id_b"]).all()
    near = table[table["distance_m"] < 15]
    assert (near["state"] == "verified").all()
    assert (near["n_inliers"] >= 20).all()
    with pycolmap.Database.open(out / "matches.db") as database:
        assert database.num_images() == 12
        assert database.num_descriptors() == 0
        assert database.num_matches() == 0
        assert database.num_pose_priors() == 12
        _, geometries = database.read_two_view_geometries()
        assert all(geometry.cam2_from_cam1 is not None for geometry in geometries)
    counts = read_pair_counts(out / "matches.db")
    verified = table[table["state"] == "verified"]
    assert counts["colmap_id_a"].tolist() == verified["colmap_id_a"].tolist()
    assert counts["n_inliers"].tolist() == verified["n_inliers"].tolist()


def test_a_box_takes_look_alikes_where_they_are_asked_for(tmp_path, street, box_of):
    box = box_of("a", street.cameras(), street)
    settings = MatchingSettings(retrieval="vlad", retrieval_k=2)
    out, report = run_box(tmp_path, *box, settings=settings)
    assert not report.skipped
    sources = pd.read_parquet(out / "pairs.parquet")["sources"]
    assert sources.str.contains("retrieval").sum() >= 8


def test_the_report_counts_every_pair_of_every_source(tmp_path, street, box_of):
    out, report = run_box(tmp_path, *box_of("a", street.cameras(), street))
    table = pd.read_parquet(out / "pairs.parquet")
    told = json.loads((out / "report.json").read_text())
    assert set(told["sources"]) == {"sequence", "spatial"}
    assert told["total"]["proposed"] == len(table) == report.counts["pairs_proposed"]
    assert told["total"]["verified"] == (table["state"] == "verified").sum()
    assert sum(told["refused"].values()) == told["total"]["refused"]
    sequence = table["sources"].str.contains("sequence").sum()
    assert told["sources"]["sequence"]["proposed"] == sequence


def test_threads_and_repeats_do_not_change_the_result(tmp_path, street, box_of):
    box = box_of("a", street.cameras(), street)
    first, _ = run_box(tmp_path, *box, tag="one", threads=1)
    second, _ = run_box(tmp_path, *box, tag="two", threads=2)
    pd.testing.assert_frame_equal(
        pd.read_parquet(first / "pairs.parquet"), pd.read_parquet(second / "pairs.parquet")
    )
    query = "SELECT pair_id, data, qvec, tvec FROM two_view_geometries ORDER BY pair_id"
    rows = []
    for out in (first, second):
        with closing(sqlite3.connect(out / "matches.db")) as connection:
            rows.append(connection.execute(query).fetchall())
    assert rows[0] == rows[1]


def test_a_killed_run_goes_on_with_the_pairs_that_are_left(tmp_path, street, box_of, monkeypatch):
    for name in ("FIRST_PAIRS", "MOST_PAIRS"):
        monkeypatch.setattr(f"citysplat_core.matching.chunks.{name}", 10)
    box = box_of("a", street.cameras(), street)
    whole, _ = run_box(tmp_path, *box, tag="whole")

    def stop_later(done: int, total: int, note: str) -> None:
        if done >= 20:
            raise KeyboardInterrupt(f"{done} of {total} {note}")

    with pytest.raises(KeyboardInterrupt, match="20 of"):
        run_box(tmp_path, *box, progress=stop_later)
    assert not list((tmp_path / "out").iterdir())
    seen = []
    out, _ = run_box(tmp_path, *box, progress=lambda done, _total, _note: seen.append(done))
    assert seen[0] == 20
    pd.testing.assert_frame_equal(
        pd.read_parquet(out / "pairs.parquet"), pd.read_parquet(whole / "pairs.parquet")
    )


def test_a_pair_farther_than_gps_allows_is_refused_without_matching(tmp_path, street, box_of):
    settings = MatchingSettings(max_verified_distance_m=10.0)
    out, _ = run_box(tmp_path, *box_of("a", street.cameras(), street), settings=settings)
    table = pd.read_parquet(out / "pairs.parquet")
    far = table[table["distance_m"] > 10.0]
    assert len(far)
    assert (far["state"] == "refused").all()
    assert (far["reason"] == "distance").all()
    assert (far["n_matches"] == 0).all()
    counts = read_pair_counts(out / "matches.db")
    assert len(counts) == (table["state"] == "verified").sum()


@pytest.mark.parametrize("count", [0, 1])
def test_a_box_without_two_photos_is_skipped_with_whole_tables(tmp_path, street, box_of, count):
    table = street.cameras()
    table.loc[table.index >= count, "status"] = "rejected"
    out, report = run_box(tmp_path, *box_of("a", table, street))
    assert report.skipped == f"the box has {count} usable photos"
    assert sorted(path.name for path in out.iterdir()) == FILES
    pairs = pd.read_parquet(out / "pairs.parquet")
    assert tuple(pairs.columns) == COLUMNS
    assert len(pairs) == 0
    assert json.loads((out / "report.json").read_text())["total"]["proposed"] == 0


def test_a_box_of_two_photos_is_matched(tmp_path, street, box_of):
    table = street.cameras().iloc[:2]
    out, report = run_box(tmp_path, *box_of("a", table, street))
    assert not report.skipped
    assert len(pd.read_parquet(out / "pairs.parquet")) == 1


def test_photos_that_share_nothing_are_skipped_with_the_reason(tmp_path, street, box_of):
    table = street.cameras().iloc[:2].assign(heading_deg=[0.0, 180.0])
    _, report = run_box(tmp_path, *box_of("a", table, street))
    assert report.skipped == "none of 1 proposed pairs could be verified"


def test_a_damaged_working_database_is_an_error_with_a_remedy(tmp_path, street, box_of):
    box = box_of("a", street.cameras(), street)
    (tmp_path / "out-work").mkdir()
    (tmp_path / "out-work" / "matches.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match=r"matches.db cannot be used: file is not a database"):
        run_box(tmp_path, *box)


def test_a_fringe_matches_across_the_border_only(tmp_path, street, box_of):
    table = street.cameras()
    south, north = table.iloc[:6], table.iloc[6:]
    boxes = [box_of("a", south, street), box_of("b", north, street)]
    margin = [*members_of(south.iloc[2:], "0213"), *members_of(north.iloc[:4], "0231")]
    out, report = run_fringe(tmp_path, boxes, margin)
    assert not report.skipped
    pairs = pd.read_parquet(out / "pairs.parquet")
    assert set(pairs["colmap_id_a"]) <= set(south["colmap_id"])
    assert set(pairs["colmap_id_b"]) <= set(north["colmap_id"])
    assert {"fringe", "fringe|sequence"} >= set(pairs["sources"])
    assert (pairs["state"] == "verified").sum() >= 8
    with pycolmap.Database.open(out / "matches.db") as database:
        assert sorted(image.image_id for image in database.read_all_images()) == [*range(103, 111)]


def test_a_fringe_with_photos_on_one_side_is_skipped(tmp_path, street, box_of):
    table = street.cameras()
    boxes = [box_of("a", table.iloc[:6], street), box_of("b", table.iloc[6:], street)]
    out, report = run_fringe(tmp_path, boxes, members_of(table.iloc[:6], "0213"))
    assert report.skipped == "no usable photo near the border in 0231"
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert len(pd.read_parquet(out / "pairs.parquet")) == 0
    assert np.isfinite(pd.read_parquet(out / "pairs.parquet")["distance_m"]).all()
