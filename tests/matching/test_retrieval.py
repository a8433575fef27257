import numpy as np
import pycolmap
import pytest

from citysplat_core.errors import MatchingError
from citysplat_core.matching.retrieval import retrieve_pairs, vlad


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
