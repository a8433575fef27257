import numpy as np
import pandas as pd

from citysplat_core.mapping.regions import Neighbourhoods


def find_region(box, rows, seams, *, reach_m):
    return Neighbourhoods(rows, seams).region(box, reach_m=reach_m)


def registrations(*places):
    """One row each: (colmap_id, node, box, east_m, rank)."""
    names = ["colmap_id", "node", "solved_in", "east_m", "rank"]
    return pd.DataFrame(list(places), columns=names).assign(north_m=0.0, up_m=0.0)


ROWS = registrations(
    (1, 0, "a", 0.0, 0),
    (2, 0, "a", 10.0, 1),
    (2, 1, "b", 10.4, 2),
    (3, 1, "b", 20.0, 3),
    (3, 0, "a", 20.5, 4),
    (4, 1, "b", 60.0, 5),
    (5, 1, "b", 200.0, 6),
    (6, 2, "c", 30.0, 7),
)
SEAMS = np.array([(1, 2), (4, 3)])


def test_a_region_is_the_box_and_the_photos_around_it():
    region = find_region("a", ROWS, SEAMS, reach_m=50.0)
    assert region.own == {1, 2, 3}
    assert region.starts == {1: 0, 2: 1, 3: 3, 4: 5}
    assert region.nodes.tolist() == [0, 1]
    assert region.n_own == 1
    assert region.rows.tolist() == [0, 1, 2, 3, 4, 5]


def test_without_reach_only_the_boxs_own_photos_take_part():
    region = find_region("a", ROWS, SEAMS, reach_m=0.0)
    assert set(region.starts) == {1, 2, 3}


def test_a_box_that_is_not_tied_has_no_region():
    assert find_region("c", ROWS, SEAMS, reach_m=50.0) is None
    assert find_region("a", ROWS, SEAMS[:0], reach_m=50.0) is None


def test_a_photo_that_stands_elsewhere_in_its_own_box_is_not_adjusted_there():
    rows = ROWS.copy()
    rows.loc[4, "east_m"] = 26.0  # photo 3: its home box has it at 20 m
    region = find_region("a", rows, SEAMS, reach_m=50.0)
    assert region.own == {1, 2}
    assert 4 not in region.rows.tolist()
    assert region.starts[3] == 3


def test_two_components_of_one_box_that_share_photos_are_adjusted_together():
    rows = registrations((1, 0, "a", 0.0, 0), (2, 0, "a", 9.0, 1), (2, 1, "a", 9.2, 2))
    region = find_region("a", rows, np.array([(1, 2)]), reach_m=50.0)
    assert region.nodes.tolist() == [0, 1]
    assert region.n_own == 2
