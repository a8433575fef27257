import numpy as np
import pytest

from citysplat_core.matching.view_cone import FAR_WALLS_M, predict_overlap, views_of

PAIR = np.array([[0, 1]], dtype=np.int32)


def overlap_of(place: list, heading: list, **options) -> float:
    views = views_of(np.array(place, dtype=float), np.array(heading, dtype=float), **options)
    return float(predict_overlap(views, PAIR)[0])


def test_a_photo_overlaps_itself_wholly_and_less_the_farther_it_moves_on():
    shares = [overlap_of([[0, 0], [0, d]], [0, 0]) for d in (0.0, 3.0, 8.0, 20.0, 80.0)]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == 0.0


def test_photos_back_to_back_or_face_to_face_see_no_surface_from_one_side():
    assert overlap_of([[0, 0], [0, 5]], [180, 0]) == 0.0
    assert overlap_of([[0, 0], [0, 20]], [0, 180]) < 0.02


def test_two_photos_of_one_facade_from_two_places_overlap():
    assert overlap_of([[0, 0], [6, 0]], [10, -10]) > 0.2
    assert overlap_of([[0, 0], [6, 0]], [-60, 60]) == 0.0


@pytest.mark.parametrize("heading", [[20.0, np.nan], [np.nan, 20.0], [np.nan, np.nan]])
def test_an_unknown_heading_gets_the_best_that_is_possible(heading):
    place = [[0, 0], [0, 4]]
    unknown = overlap_of(place, heading)
    assert unknown >= overlap_of(place, [20, 200])
    assert unknown > 0.1


def test_the_prediction_does_not_depend_on_the_order_or_on_where_north_is():
    place, heading = np.array([[0.0, 0.0], [5.0, 9.0]]), np.array([30.0, 55.0])
    turned = place[:, ::-1] * [1, -1]  # by 90 degrees to the right
    one = overlap_of(place, heading)
    assert one == overlap_of(place[::-1], heading[::-1])
    assert one == pytest.approx(overlap_of(turned, heading + 90.0), abs=0.03)


def test_a_wide_view_sees_more_in_common_across_a_crossing_than_a_narrow_one():
    place, heading = [[0, 0], [3, 3]], [0, 50]
    wide = np.full((2, 2), 1.2, dtype=np.float32)
    narrow = np.full((2, 2), 0.3, dtype=np.float32)
    assert overlap_of(place, heading, half_view=wide) > overlap_of(place, heading, half_view=narrow)


def test_photos_far_apart_share_a_far_slope_only():
    place, heading = [[0, 0], [60, 0]], [0, -5]
    assert overlap_of(place, heading) == 0.0
    assert overlap_of(place, heading, walls_m=FAR_WALLS_M) > 0.05
