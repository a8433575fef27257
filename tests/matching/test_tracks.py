import numpy as np

from citysplat_core.matching.tracks import choose_tracks


def everything(place) -> np.ndarray:
    return np.ones(len(place), dtype=bool)


def test_matches_that_share_keypoints_make_one_track():
    owner = np.array([0, 0, 1, 1, 2])
    place = np.array([[0, 2], [2, 4], [1, 3]])
    tracks = choose_tracks(place, owner, everything(place), 3)
    assert tracks.n_points == 2
    found = [set(tracks.keypoint[tracks.point == each].tolist()) for each in range(2)]
    assert {frozenset(each) for each in found} == {frozenset({0, 2, 4}), frozenset({1, 3})}
    np.testing.assert_array_equal(tracks.photo, owner[tracks.keypoint])


def test_a_track_with_two_keypoints_of_one_photo_is_left_out():
    owner = np.array([0, 0, 1, 1, 2, 2])
    place = np.array([[0, 2], [1, 2], [3, 4]])
    tracks = choose_tracks(place, owner, everything(place), 3)
    assert sorted(tracks.keypoint.tolist()) == [3, 4]


def test_matches_that_are_not_believed_join_nothing():
    owner = np.array([0, 1, 2])
    place = np.array([[0, 1], [1, 2]])
    tracks = choose_tracks(place, owner, np.array([True, False]), 3)
    assert sorted(tracks.keypoint.tolist()) == [0, 1]


def test_long_tracks_are_chosen_first_and_photos_get_enough_not_all():
    n = 400
    first, second = np.arange(n), np.arange(n, 2 * n)
    third = np.arange(2 * n, 2 * n + 50)
    owner = np.repeat([0, 1, 2], [n, n, 50])
    place = np.concatenate([np.c_[first, second], np.c_[second[:50], third]])
    tracks = choose_tracks(place, owner, everything(place), 3)
    length = np.bincount(tracks.point)
    assert (length == 3).sum() == 50
    assert 100 < np.bincount(tracks.photo)[0] < 200


def test_no_match_makes_no_track():
    place = np.empty((0, 2), dtype=np.intp)
    assert choose_tracks(place, np.empty(0, dtype=np.int64), everything(place), 3).n_points == 0
