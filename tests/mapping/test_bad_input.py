"""Bad input through the public step: an error with its fix, a reason, or a name in the report."""

import json
import logging

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from citysplat_core.errors import MappingError
from citysplat_core.mapping import read_images, read_registered, solve_box
from citysplat_core.settings import MappingSettings
from citysplat_core.storage import no_progress

N = 20


def solve(artifacts, fresh, *, out="out", work="work", **settings):
    folder = fresh(out)
    scratch = fresh(work) if isinstance(work, str) else work
    report = solve_box(
        "030",
        **artifacts.inputs("030"),
        out=folder,
        work=scratch,
        settings=MappingSettings(**{"strategy": "incremental"} | settings),
        n_threads=1,
        progress=no_progress,
    )
    return report, folder, json.loads((folder / "report.json").read_text())


def errors_m(street, rows):
    true = dict(zip(street.ids, street.centers, strict=True))
    solved = rows[["east_m", "north_m", "up_m"]].to_numpy()
    return np.linalg.norm(solved - np.array([true[i] for i in rows["colmap_id"]]), axis=1)


def change_images(artifacts, **columns):
    path = artifacts.box_images["030"] / "images.parquet"
    pd.read_parquet(path).assign(**columns).to_parquet(path)


@pytest.fixture
def street(make_street):
    return make_street(n_photos=N, corners=((0, 0), (45, 0), (55, 15)))


def test_a_photo_uploaded_twice_is_solved_twice_in_one_place_and_named(
    street, make_artifacts, fresh
):
    street.repeat(9, 10)
    artifacts = make_artifacts(street)
    change_images(artifacts, sha256=[f"{99 if i in (9, 10) else i:064x}" for i in range(N)])
    report, out, told = solve(artifacts, fresh)
    rows = read_registered(out).set_index("colmap_id")
    pair = rows.loc[[street.ids[9], street.ids[10]], ["east_m", "north_m", "up_m"]].to_numpy()
    assert np.linalg.norm(pair[0] - pair[1]) < 0.05
    assert (errors_m(street, rows.reset_index()) < 1.0).all()
    assert told["contradictions"]["duplicates"] == [["photo109", "photo110"]]
    assert report.counts["n_duplicates"] == 1


def test_a_copy_with_another_position_is_solved_where_the_photo_was_taken_and_named(
    street, make_artifacts, fresh
):
    street.repeat(9, 15)
    street.gps[15, :2] += (0.0, 60.0)
    artifacts = make_artifacts(street)
    change_images(artifacts, sha256=[f"{99 if i in (9, 15) else i:064x}" for i in range(N)])
    _, out, told = solve(artifacts, fresh)
    assert (errors_m(street, read_registered(out)) < 1.0).all()
    assert told["contradictions"]["duplicates"] == [["photo109", "photo115"]]
    named = [row["image_id"] for row in told["contradictions"]["position_contradicted"]]
    state = read_images(out).set_index("image_id")["state"]["photo115"]
    assert named == ["photo115"] or state == "pruned"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_photo_without_a_finite_position_is_solved_by_its_neighbours_and_named(
    street, make_artifacts, fresh, value
):
    street.gps[7] = value
    report, out, told = solve(make_artifacts(street), fresh)
    rows = read_registered(out)
    assert len(rows) == N
    assert (errors_m(street, rows) < 1.0).all()
    assert told["contradictions"]["without_position"] == ["photo107"]
    assert report.counts["n_without_position"] == 1
    assert report.counts["n_priors"] == N - 1
    assert report.counts["n_priors_undefined"] == 0
    assert "NaN" not in (out / "report.json").read_text()


def test_half_of_the_positions_missing_costs_no_photo(street, make_artifacts, fresh):
    street.gps[::2] = np.nan
    report, out, _ = solve(make_artifacts(street), fresh)
    assert report.counts["n_registered"] == N
    assert (errors_m(street, read_registered(out)) < 1.5).all()


def test_a_box_without_any_position_is_skipped_with_that_reason(street, make_artifacts, fresh):
    street.gps[:] = np.nan
    report, out, _ = solve(make_artifacts(street), fresh)
    assert report.skipped == f"none of its {N} photos has a position"
    assert set(read_images(out)["state"]) == {"unconnected"}
    assert (out / "from_above.png").is_file()


def test_a_position_wrong_by_a_kilometre_is_named(street, make_artifacts, fresh):
    street.gps[9, :2] += (700, 700)
    report, out, told = solve(make_artifacts(street), fresh)
    assert (errors_m(street, read_registered(out)) < 1.0).all()
    named = told["contradictions"]["position_contradicted"]
    assert [row["image_id"] for row in named] == ["photo109"]
    assert named[0]["gps_residual_m"] == pytest.approx(990, abs=3)
    assert report.counts["extent_m"] == pytest.approx(report.counts["gps_extent_m"], rel=0.1)
    assert report.counts["gps_residual_median_m"] < 1.0


@pytest.mark.parametrize(
    ("lie", "guess"),
    [
        (lambda heading: -heading, "mirrored"),
        (lambda heading: heading + 180, "turned by"),
        (lambda heading: heading * 0 + 200, ""),
    ],
)
def test_a_lying_compass_moves_no_photo_and_its_sequence_is_named(
    make_street, make_artifacts, fresh, lie, guess
):
    street = make_street(n_photos=N, corners=((0, 0), (40, 25), (55, 60)))
    truth = [pose.rotation.matrix()[2] for pose in street.poses]
    heading = np.array([np.degrees(np.arctan2(f[0], f[1])) % 360 for f in truth])
    artifacts = make_artifacts(street)
    change_images(artifacts, heading_deg=lie(heading) % 360, sequence_id="drive")
    report, out, told = solve(artifacts, fresh)
    assert (errors_m(street, read_registered(out)) < 1.0).all()
    assert report.counts["n_heading_contradicted"] > N / 2
    (doubted,) = told["contradictions"]["sequences_doubted"]
    assert doubted["sequence_id"] == "drive"
    assert guess in doubted["guess"]


@pytest.mark.parametrize(
    ("damage", "seen"),
    [
        (lambda whole: whole[:3000], "malformed"),
        (lambda whole: whole[: len(whole) // 2], "malformed"),
        (lambda _: b"hello, I am no database at all" * 40, "not a database"),
        (lambda _: b"", "no such table"),
        (lambda whole: whole[: len(whole) // 3] + b"\xff" * 9000 + whole[len(whole) // 3 :], "is"),
    ],
    ids=["cut off", "half", "text", "empty", "scrambled"],
)
def test_a_damaged_database_is_named_with_its_remedy(street, make_artifacts, fresh, damage, seen):
    artifacts = make_artifacts(street)
    file = artifacts.box_matches["030"] / "matches.db"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(
        MappingError, match=r"Box 030: .*box_matches/030/matches\.db is damaged"
    ) as e:
        solve(artifacts, fresh)
    assert seen in str(e.value)
    assert "citysplat restore" in str(e.value)


def test_a_damaged_database_of_a_fringe_is_named(make_street, make_artifacts, fresh):
    artifacts = make_artifacts(make_street(n_photos=N), n_boxes=2)
    file = next(iter(artifacts.fringe_matches.values())) / "matches.db"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(MappingError, match=r"fringe_matches/030--031/matches\.db is damaged"):
        solve(artifacts, fresh)


def test_a_lost_database_is_no_box_without_pairs(street, make_artifacts, fresh):
    artifacts = make_artifacts(street)
    folder = artifacts.box_matches["030"]
    pq.write_table(pa.table({"state": ["verified", "refused"]}), folder / "pairs.parquet")
    (folder / "matches.db").unlink()
    with pytest.raises(MappingError, match="does not exist, though 1 pairs are verified"):
        solve(artifacts, fresh)


def test_a_damaged_workspace_of_an_earlier_run_is_made_again(street, make_artifacts, fresh, caplog):
    work = fresh("work")
    (work / "workspace.db").write_bytes(b"SQLite format 3\0" + b"x" * 500)
    with caplog.at_level(logging.WARNING):
        report, _, _ = solve(make_artifacts(street), fresh, work=work)
    assert report.counts["n_registered"] == N
    assert "made again" in caplog.text


def test_damaged_models_of_an_earlier_run_are_mapped_again(street, make_artifacts, fresh, caplog):
    artifacts, work = make_artifacts(street), fresh("work")
    solve(artifacts, fresh, work=work)
    (work / "incremental" / "kept" / "0" / "rigs.bin").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        report, _, _ = solve(artifacts, fresh, out="again", work=work)
    assert report.counts["n_registered"] == N
    assert "mapped again" in caplog.text


@pytest.mark.parametrize("size", [None, 0, 300])
def test_a_lost_or_damaged_table_of_photos_is_named(street, make_artifacts, fresh, size):
    artifacts = make_artifacts(street)
    file = artifacts.box_images["030"] / "images.parquet"
    if size is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(MappingError, match=r"Box 030: .*images\.parquet cannot be read"):
        solve(artifacts, fresh)
