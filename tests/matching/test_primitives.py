"""Each step of matching works alone, on a folder of photos and a plain database."""

import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from citysplat_core.errors import MatchingError
from citysplat_core.features import extract_features, read_pair_counts
from citysplat_core.matching import match_pairs, photos_of_database, propose_pairs, verify_pairs
from citysplat_core.settings import MatchingSettings

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "match-own-photos.md"
STEP_PX, N_PHOTOS = 24, 8


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """Photos of a long wall from a car that drives north and looks east, and what is known."""
    place = tmp_path_factory.mktemp("walk")
    (place / "photos").mkdir()
    rng = np.random.default_rng(1)
    wide = 376 + STEP_PX * N_PHOTOS
    sizes = ((12, wide // 12), (24, wide // 6), (60, wide // 3))
    noise = [cv2.resize(rng.integers(0, 255, (*s, 3)).astype(np.uint8), (wide, 300)) for s in sizes]
    wall = np.mean(noise, axis=0).astype(np.uint8)
    for x, y in rng.integers(10, (wide - 30, 270), (150, 2)).tolist():
        cv2.rectangle(wall, (x, y), (x + 14, y + 20), rng.integers(0, 255, 3).tolist(), -1)
    names = [f"p{row}.jpg" for row in range(N_PHOTOS)]
    for row, name in enumerate(names):  # driving north, things move to the right
        left = STEP_PX * (N_PHOTOS - row)
        cv2.imwrite(str(place / "photos" / name), wall[:, left : left + 376])
    known = pd.DataFrame(
        {
            "name": names,
            "east_m": 0.0,
            "north_m": 1.3 * np.arange(N_PHOTOS),
            "heading_deg": 90.0,
            "sequence_id": "drive",
            "captured_at": pd.date_range("2026-05-01", periods=N_PHOTOS, freq="s", tz="UTC"),
        }
    )
    known.to_csv(place / "known.csv", index=False)
    extract_features(place / "features.db", place / "photos")
    return place


@pytest.fixture
def database(walk, tmp_path):
    """A fresh database with features."""
    copy = tmp_path / "mine.db"
    copy.write_bytes((walk / "features.db").read_bytes())
    return copy


def stopped_at(limit: int):
    def stop(done: int, _total: int, _unit: str) -> None:
        if done >= limit:
            raise KeyboardInterrupt

    return stop


def test_the_example_of_the_page_runs(walk, monkeypatch, capsys):
    monkeypatch.chdir(walk)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, str(PAGE), "exec"), {"__name__": "example"})  # noqa: S102 - our own page
    table = pd.read_csv("pairs.csv")
    near = table[table["colmap_id_b"] - table["colmap_id_a"] == 1]
    assert (near["state"] == "verified").all()
    assert f"{N_PHOTOS} of {N_PHOTOS} photos" in capsys.readouterr().out


def test_proposals_need_nothing_but_a_database_and_positions(walk, database):
    known = pd.read_csv(walk / "known.csv")
    photos = photos_of_database(database, known)
    told = []
    found = propose_pairs(photos, MatchingSettings(), progress=lambda *said: told.append(said))
    assert len(found) >= N_PHOTOS - 1
    assert told[-1] == (N_PHOTOS, N_PHOTOS, "photos")
    assert photos.rows_of(photos.ids_of(found.pairs)).tolist() == found.pairs.tolist()


def test_what_nobody_knows_of_photos_is_an_error_only_where_it_is_needed(walk, database):
    with pytest.raises(MatchingError, match=r"8 of 8 photos have no position \(p0.jpg"):
        photos_of_database(database)
    known = pd.read_csv(walk / "known.csv")
    bare = photos_of_database(database, known[["name", "east_m", "north_m"]])
    assert np.isnan(bare.heading_deg).all()
    assert (bare.sequence == -1).all()
    with pytest.raises(MatchingError, match="1 names of the table are not in the database"):
        photos_of_database(database, known.replace({"name": {"p0.jpg": "p9.jpg"}}))
    with pytest.raises(MatchingError, match="has the columns name, lat"):
        photos_of_database(database, pd.DataFrame({"name": [], "lat": []}))


def test_matching_goes_on_after_a_kill(database, monkeypatch):
    for name in ("FIRST_PAIRS", "MOST_PAIRS"):
        monkeypatch.setattr(f"citysplat_core.matching.chunks.{name}", 3)
    pairs = [(a, a + 1) for a in range(1, N_PHOTOS)]
    with pytest.raises(KeyboardInterrupt):
        match_pairs(database, pairs, progress=stopped_at(3))
    assert len(read_pair_counts(database)) == 3
    told = []
    match_pairs(database, pairs, progress=lambda done, *_: told.append(done))
    assert told == [3, 6, 7]
    assert len(read_pair_counts(database)) == 7
    assert not list(database.parent.glob("*.txt"))


def test_verification_goes_on_after_a_kill_and_repeats_itself(walk, database, monkeypatch):
    pairs = [(a, a + 1) for a in range(1, N_PHOTOS)]
    match_pairs(database, pairs)
    expected = verify_pairs(database)
    assert (expected["state"] == "verified").all()
    for name in ("FIRST_PAIRS", "MOST_PAIRS"):
        monkeypatch.setattr(f"citysplat_core.matching.chunks.{name}", 3)
    with pytest.raises(KeyboardInterrupt):
        verify_pairs(database, again=True, progress=stopped_at(3))
    told = []
    found = verify_pairs(database, n_threads=2, progress=lambda done, *_: told.append(done))
    assert told == [3, 6, 7]
    pd.testing.assert_frame_equal(found, expected)
    some = verify_pairs(database, [(3, 2)])
    assert some[["colmap_id_a", "colmap_id_b"]].to_numpy().tolist() == [[2, 3]]
    far = pd.read_csv(walk / "known.csv").assign(north_m=100.0 * np.arange(N_PHOTOS))
    judged = verify_pairs(database, photos=photos_of_database(database, far))
    assert set(judged["reason"]) == {"distance"}
    with pytest.raises(MatchingError, match="not among the 2 that were given"):
        verify_pairs(database, photos=photos_of_database(database, far).select(np.arange(2)))
