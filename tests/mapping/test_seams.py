import numpy as np
import pandas as pd

from citysplat_core.mapping.seams import count_groups, find_seams, measure_fringes


def test_only_components_with_enough_shared_photos_are_tied():
    photo = np.array([1, 2, 3, 1, 2, 3])
    node = np.array([0, 0, 0, 1, 1, 2])
    assert find_seams(photo, node, min_shared=2).tolist() == [[0, 3], [1, 4]]
    assert len(find_seams(photo, node, min_shared=1)) == 3
    assert find_seams([], np.zeros(0, np.int64), min_shared=2).shape == (0, 2)


def test_groups_follow_the_ties():
    assert count_groups(3, np.array([[0, 2]])).tolist() == [0, 1, 0]
    assert count_groups(0, np.zeros((0, 2))).tolist() == []


def test_fringes_are_measured_and_touching_boxes_of_any_zoom_are_listed():
    rows = pd.DataFrame(
        {
            "colmap_id": [1, 2, 1, 2],
            "solved_in": ["030", "030", "031", "031"],
            "is_first": True,
            "east_m": [0.0, 1, 3, 4],
            "north_m": 0.0,
            "up_m": 0.0,
        }
    )
    aligned = np.zeros((4, 3))
    solved = [("030", 0), ("031", 0)]
    # 0320 is a child of 032 and touches 030 above it; 000 is far away.
    fringes = measure_fringes(
        rows, aligned, solved=solved, boxes={"030", "031", "0320", "000"}
    ).set_index("fringe")
    assert list(fringes.index) == ["030--031", "030--0320"]
    assert fringes.loc["030--031"].tolist() == [2, 3.0, 0.0, "tied"]
    assert fringes.loc["030--0320", "state"] == "not solved"
    assert np.isnan(fringes.loc["030--0320", "before_m"])


def test_a_fringe_whose_boxes_do_not_agree_is_marked():
    rows = pd.DataFrame(
        {
            "colmap_id": [1, 2, 1, 2], "solved_in": ["030", "030", "031", "031"], "is_first": True,
            "east_m": [0.0, 1, 3, 4], "north_m": 0.0, "up_m": 0.0,
        }
    )  # fmt: skip
    solved = [("030", 0), ("031", 0)]
    for apart_m, state in ((0.4, "tied"), (0.6, "apart")):
        aligned = np.zeros((4, 3))
        aligned[2:, 1] = apart_m
        fringes = measure_fringes(rows, aligned, solved=solved, boxes={"030", "031"})
        assert fringes["state"].tolist() == [state]
        assert fringes["after_m"].tolist() == [apart_m]
