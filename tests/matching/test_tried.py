"""A box that is matched again compares only what was never compared."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from citysplat_core.matching import match_box, match_fringe, verify
from citysplat_core.matching.tried import recipe_of
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import ArtifactStore, no_progress
from tests.matching.conftest import Street

N_OLD, N_ALL = 9, 19
CURRENT = Path("the version in force")
OLD = {f"s{row:02d}.jpg" for row in range(N_OLD)}


@pytest.fixture
def compared(monkeypatch):
    """Pairs of image names in the order in which they were really compared."""
    seen: list[tuple[str, str]] = []
    match_chunk = verify._match_chunk  # noqa: SLF001

    def spy(database, pairs, *args, **kwargs):
        seen.extend(pairs)
        match_chunk(database, pairs, *args, **kwargs)

    monkeypatch.setattr(verify, "_match_chunk", spy)
    return seen


class Box:
    """A box that is matched again and again, as the pipeline does it."""

    def __init__(self, root: Path, box_of) -> None:
        self.store = ArtifactStore(root)
        self.street = Street(n_photos=N_ALL)
        table = self.street.cameras().assign(true_heading_deg=0.0)
        table.loc[3, "true_heading_deg"] = 180.0  # looks back: its pairs find nothing
        self.inputs = {n: box_of(f"box{n}", table.iloc[:n], self.street) for n in (N_OLD, N_ALL)}

    def match(self, count, *, earlier=CURRENT, progress=no_progress, **settings):
        images, features = self.inputs[count]
        found = self.store.find("box_matches", "0213")
        path = (found.path if found else None) if earlier is CURRENT else earlier

        def build(out, work):
            return match_box(
                "0213",
                box_images=images,
                box_features=features,
                out=out,
                work=work,
                settings=MatchingSettings(**settings),
                n_threads=1,
                progress=progress,
                earlier=path,
            )

        recipe = {"images": str(images), "earlier": str(earlier)}
        return self.store.produce(
            "box_matches", "0213", step_version="1", settings=settings, inputs=recipe, build=build
        )


@pytest.fixture
def box(tmp_path, box_of):
    return Box(tmp_path, box_of)


def results(path):
    """Everything that an artifact says: the tables, and the geometries of its database."""
    with closing(sqlite3.connect(path / "matches.db")) as connection:
        rows = connection.execute("SELECT * FROM two_view_geometries ORDER BY 1").fetchall()
    tables = [pd.read_parquet(path / name) for name in ("pairs.parquet", "tried.parquet")]
    return rows, *tables


def assert_same(one, other):
    rows, *tables = results(one.path)
    other_rows, *other_tables = results(other.path)
    assert rows == other_rows
    for table, other_table in zip(tables, other_tables, strict=True):
        pd.testing.assert_frame_equal(table, other_table)


def test_ten_new_photos_cost_only_the_pairs_that_contain_them(box, compared):
    first = box.match(N_OLD)
    assert first.counts["pairs_reused"] == 0
    assert first.counts["pairs_compared"] == len(compared) > 15
    compared.clear()
    second = box.match(N_ALL)
    assert compared
    assert all(not set(pair) <= OLD for pair in compared)
    assert second.counts["pairs_compared"] == len(compared)
    assert second.counts["pairs_reused"] + len(compared) == second.counts["pairs_proposed"]
    compared.clear()
    scratch = box.match(N_ALL, earlier=None)
    assert len(compared) == scratch.counts["pairs_proposed"]
    assert_same(second, scratch)


def test_pairs_that_gates_refused_or_that_found_nothing_are_not_compared_again(box, compared):
    first = box.match(N_OLD, min_agreeing_matches=400)
    states = pd.read_parquet(first.path / "pairs.parquet")["state"].value_counts()
    assert states["refused"] > 3
    assert states["unmatched"] > 3
    assert len(pd.read_parquet(first.path / "tried.parquet")) == first.counts["pairs_compared"]
    compared.clear()
    again = box.match(N_OLD)
    assert not compared
    assert again.counts["pairs_compared"] == 0
    assert_same(again, box.match(N_OLD, earlier=None))


def test_other_settings_of_the_comparison_compare_all_again(box, compared):
    box.match(N_OLD)
    compared.clear()
    again = box.match(N_OLD, max_ratio=0.7)
    assert again.counts["pairs_reused"] == 0
    assert len(compared) == again.counts["pairs_proposed"]


def test_results_are_filed_under_all_that_they_depend_on_and_nothing_else(box, monkeypatch):
    database = box.inputs[N_OLD][1] / "features.db"
    recipe = recipe_of(database, MatchingSettings())
    for change in ({"max_ratio": 0.7}, {"min_inliers": 25}, {"seed": 1}):
        assert recipe_of(database, MatchingSettings(**change)) != recipe
    for change in ({"radius_m": 9.0}, {"max_rotation_error_deg": 2.0}, {"matcher": "sift"}):
        assert recipe_of(database, MatchingSettings(**change)) == recipe
    monkeypatch.setattr("citysplat_core.matching.tried.versions_of", lambda _: {"pycolmap": "9"})
    assert recipe_of(database, MatchingSettings()) != recipe


def test_a_photo_with_other_features_is_compared_again(box, compared):
    box.match(N_OLD)
    compared.clear()
    _, features = box.inputs[N_ALL]
    with closing(sqlite3.connect(features / "features.db")) as connection:
        data = connection.execute("SELECT data FROM keypoints WHERE image_id = 104").fetchone()[0]
        moved = np.frombuffer(data, dtype=np.float32) + np.float32(0.25)
        connection.execute("UPDATE keypoints SET data = ? WHERE image_id = 104", (moved.tobytes(),))
        connection.commit()
    box.match(N_ALL)
    among_old = [pair for pair in compared if set(pair) <= OLD]
    assert among_old
    assert all("s03.jpg" in pair for pair in among_old)


def test_photos_that_left_are_dropped(box):
    box.match(N_ALL)
    left = box.match(N_OLD)
    tried = pd.read_parquet(left.path / "tried.parquet")
    assert left.counts["pairs_compared"] == 0
    assert tried[["colmap_id_a", "colmap_id_b"]].to_numpy().max() == 100 + N_OLD
    assert_same(left, box.match(N_OLD, earlier=None))


def test_a_kill_in_the_middle_goes_on_and_takes_nothing_twice(box, compared, monkeypatch):
    for name in ("FIRST_PAIRS", "MOST_PAIRS"):
        monkeypatch.setattr(f"citysplat_core.matching.chunks.{name}", 10)
    first = box.match(N_OLD)
    compared.clear()
    told = []

    def stop_later(done, total, note):
        told.append(done)
        if len(told) == 3:
            raise KeyboardInterrupt(f"{done} of {total} {note}")

    with pytest.raises(KeyboardInterrupt, match="of"):
        box.match(N_ALL, progress=stop_later)
    assert told[0] == first.counts["pairs_proposed"]  # what was taken over is done
    second = box.match(N_ALL)
    assert len(compared) == len(set(compared)) == second.counts["pairs_compared"]
    assert all(not set(pair) <= OLD for pair in compared)
    assert_same(second, box.match(N_ALL, earlier=None))


def damage_by_a_flipped_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_by_a_flipped_bit, "its hash is not the one in the manifest"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "its hash is not"),
        (Path.unlink, "FileNotFoundError"),
        (lambda path: (path.parent / "manifest.json").write_text("{"), "is not JSON"),
    ],
)
def test_a_damaged_earlier_version_is_said_and_everything_is_compared(box, caplog, damage, said):
    first = box.match(N_OLD)
    n_proposed = first.counts["pairs_proposed"]
    damage(first.path / "tried.parquet")
    with caplog.at_level(logging.WARNING, logger="citysplat_core"):
        second = box.match(N_OLD, earlier=first.path)
    warning = " ".join(record.message for record in caplog.records)
    assert "tried.parquet is damaged" in warning
    assert said in warning
    assert "all is computed again" in warning
    assert second.counts["pairs_reused"] == 0
    assert second.counts["pairs_compared"] == n_proposed


def test_a_version_from_before_results_were_kept_is_no_damage(box, caplog):
    plain = box.store.produce(
        "old", step_version="1", settings={}, inputs={},
        build=lambda out, _work: (out / "pairs.parquet").write_text("x") and _report(),
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, logger="citysplat_core"):
        assert box.match(N_OLD, earlier=plain.path).counts["pairs_reused"] == 0
    assert not caplog.records


def _report():
    from citysplat_core.storage import StepReport

    return StepReport()


def test_a_fringe_takes_over_its_pairs_too(tmp_path, box_of, compared):
    street = Street(n_photos=N_ALL)
    table = street.cameras()
    south, north = table.iloc[:6], table.iloc[6:]
    few = box_of("b1", north.iloc[:4], street)
    sides = {4: few, 13: box_of("b2", north, street)}
    images_a, features_a = box_of("a", south, street)
    store = ArtifactStore(tmp_path)
    # The maker of boxes draws its noise anew for each: the first four are alike in both.

    def match(count, earlier):
        members = [
            ("0213--0231", "0213", row.image_id, row.colmap_id) for row in south.itertuples()
        ]
        rows = north.iloc[:count].itertuples()
        members += [("0213--0231", "0231", row.image_id, row.colmap_id) for row in rows]
        path = tmp_path / f"fringe_images{count}.parquet"
        pd.DataFrame(members, columns=["fringe", "box", "image_id", "colmap_id"]).to_parquet(path)
        images_b, features_b = sides[count]
        return store.produce(
            "fringe_matches", "0213--0231", step_version="1", settings={},
            inputs={"count": str(count), "earlier": str(earlier)},
            build=lambda out, work: match_fringe(
                "0213--0231", images_a=images_a, images_b=images_b, features_a=features_a,
                features_b=features_b, fringe_images=path, out=out, work=work,
                settings=MatchingSettings(), n_threads=1, progress=no_progress, earlier=earlier,
            ),
        )  # fmt: skip

    first = match(4, None)
    assert first.counts["pairs_verified"] > 5
    compared.clear()
    second = match(13, first.path)
    known = {f"s{row:02d}.jpg" for row in range(10)}
    assert second.counts["pairs_reused"] > 5
    assert compared
    assert all(not set(pair) <= known for pair in compared)
    assert_same(second, match(13, None))
