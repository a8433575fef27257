import dataclasses
import functools

import numpy as np
import pandas as pd
import pycolmap
import pytest

from citysplat_core.errors import MatchingError
from citysplat_core.matching import match_box
from citysplat_core.matching.budget import Candidates, unite
from citysplat_core.matching.retrieval import retrieve_pairs, retrieved_among, vlad
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import no_progress


def turned(degrees: list[float]) -> np.ndarray:
    angle = np.radians(degrees)
    return np.c_[np.cos(angle), np.sin(angle)].astype(np.float32)


def test_every_photo_asks_for_the_most_alike_within_reach():
    place = np.array([[0.0, 0], [10, 0], [20, 0], [900, 0]])
    alike = turned([0, 50, 10, 1])
    assert retrieve_pairs(alike, place, k=1, distance_m=100.0).tolist() == [[0, 2], [1, 2]]
    far = retrieve_pairs(alike, place, k=1, distance_m=1000.0)
    assert [0, 3] in far.tolist()


def test_look_alikes_that_are_not_allowed_are_replaced_by_the_next():
    place, alike = np.zeros((4, 2)), turned([0, 1, 3, 7])
    found = retrieve_pairs(
        alike, place, k=1, distance_m=9.0, allowed=lambda pairs: pairs.sum(axis=1) != 1
    )
    assert found.tolist() == [[0, 2], [1, 2], [2, 3]]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_photos_have_no_look_alikes(count):
    found = retrieve_pairs(turned([0.0] * count), np.zeros((count, 2)), k=3, distance_m=9.0)
    assert found.shape == (0, 2)


def test_photos_that_follow_each_other_are_the_most_alike(street, box_of):
    _, features = box_of("a", street.cameras(), street)
    rows = vlad(features / "features.db", np.arange(12) + 101, 0)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)
    alike = rows @ rows.T - 2 * np.eye(12)
    gap = np.abs(alike.argmax(axis=1) - np.arange(12))
    assert np.median(gap) == 1
    again = vlad(features / "features.db", np.arange(12) + 101, 0)
    assert np.array_equal(rows, again)


def test_a_database_without_descriptors_is_refused_with_the_way_out(street, box_of):
    _, features = box_of("a", street.cameras(), street)
    with pycolmap.Database.open(features / "features.db") as database:
        database.clear_descriptors()
    with pytest.raises(MatchingError, match=r"none of 12 photos in .* has SIFT"):
        vlad(features / "features.db", np.arange(12) + 101, 0)


def two_drives(heading_of_second: float) -> pd.DataFrame:
    """Two drives from west to east, 90 m apart, that look north onto a slope, or one of them."""
    east = np.tile(np.arange(6) * 4.0, 2)
    return pd.DataFrame(
        {
            "image_id": [f"p{row:02d}" for row in range(12)],
            "colmap_id": np.arange(12) + 101,
            "camera_id": 7,
            "status": "ok",
            "sequence_id": np.repeat(["below", "above"], 6),
            "captured_at": pd.to_datetime(np.tile(np.arange(6), 2), unit="s", utc=True),
            "east_m": east,
            "north_m": np.repeat([0.0, 90.0], 6),
            "up_m": np.nan,
            "heading_deg": np.repeat([0.0, heading_of_second], 6),
        }
    )


@pytest.fixture
def matched(tmp_path, box_of_points):
    """Match photos of a slope: (their table, settings) -> pairs."""
    return functools.partial(match_slope, tmp_path, box_of_points)


def match_slope(tmp_path, box_of_points, table: pd.DataFrame, **settings) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    slope = np.c_[rng.uniform(-90, 90, 900), rng.uniform(190, 250, 900), rng.uniform(-4, 70, 900)]
    descriptors = rng.integers(0, 120, (900, 128)).astype(np.uint8)
    place = tmp_path / "-".join(map(str, [table["heading_deg"].max(), *settings.values()]))
    images, features = box_of_points(place, table, slope, descriptors, sight_m=300.0)
    for name in ("out", "work"):
        (place / name).mkdir()
    match_box(
        "0213", box_images=images, box_features=features, out=place / "out", work=place / "work",
        settings=MatchingSettings(**settings), n_threads=1, progress=no_progress,
    )  # fmt: skip
    return pd.read_parquet(place / "out" / "pairs.parquet")


def test_pairs_across_a_valley_enter_by_likeness_and_view_cone_and_are_kept(matched):
    wanted = {"retrieval": "vlad", "retrieval_k": 8}
    found = matched(two_drives(0.0), **wanted)
    across = found[found["distance_m"] > 60]
    assert len(across) > 10
    assert (across["sources"] == "retrieval").all()
    assert (across["state"] == "verified").all()
    assert not (matched(two_drives(0.0))["distance_m"] > 60).any()
    assert not (matched(two_drives(180.0), **wanted)["distance_m"] > 60).any()
    short = matched(two_drives(0.0), **wanted, retrieval_distance_m=80.0)
    assert not (short["distance_m"] > 60).any()


def test_edges_are_told_apart_by_what_proposed_them(town):
    edges = town.edges(np.array([[0, 1], [0, 15], [3, 4]]))
    nothing = np.zeros(2, dtype=np.float32)
    alike = Candidates(
        source="retrieval", pairs=np.array([[0, 15], [3, 5]]), overlap=nothing, worth=nothing
    )
    proposals = unite([alike], 160, budget=9, refused={})
    assert retrieved_among(proposals, edges).tolist() == [False, True, False]
    none = dataclasses.replace(edges, rows=np.zeros((0, 2), dtype=np.int64))
    assert retrieved_among(proposals, none).tolist() == []
