import pandas as pd
import pycolmap
import pytest

from citysplat_core.mapping.vouching import is_vouched_for, partners_of


def three_views(shared: int) -> pycolmap.Reconstruction:
    """Three photos; photo 1 shares points with 2 and 3."""
    options = pycolmap.SyntheticDatasetOptions(
        num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=3, num_points3D=shared
    )
    return pycolmap.synthesize_dataset(options)


def test_partners_are_listed_strongest_first():
    pairs = pd.DataFrame(
        {"colmap_id_a": [1, 1, 2], "colmap_id_b": [2, 3, 3], "n_inliers": [40, 90, 10]}
    )
    assert partners_of(pairs, min_inliers=15) == {1: [3, 2], 2: [1], 3: [1]}


def test_two_good_partners_that_share_points_vouch():
    model = three_views(60)
    vouched = is_vouched_for(
        model, 1, partners={1: [2, 3]}, beside={}, residual_m={1: 900.0, 2: 1.0, 3: 2.0}, limit_m=10
    )
    assert vouched


def test_partners_that_are_far_off_themselves_do_not_count():
    model = three_views(60)
    assert not is_vouched_for(
        model,
        1,
        partners={1: [2, 3]},
        beside={},
        residual_m={1: 900.0, 2: 1.0, 3: 400.0},
        limit_m=10,
    )


def test_partners_that_share_no_points_do_not_count():
    model = three_views(5)
    residual_m = {1: 900.0, 2: 1.0, 3: 2.0}
    assert not is_vouched_for(
        model, 1, partners={1: [2, 3]}, beside={}, residual_m=residual_m, limit_m=10
    )
    assert not is_vouched_for(model, 1, partners={}, beside={}, residual_m=residual_m, limit_m=10)


@pytest.mark.parametrize(("beside", "is_right"), [([2], True), ([4], False), ([], False)])
def test_the_photos_before_and_after_are_asked_too(beside, is_right):
    """Photo 4 of the sequence is not in the model, or sees nothing of photo 1."""
    vouched = is_vouched_for(
        three_views(60), 1, partners={1: [2, 3]}, beside={1: beside},
        residual_m={1: 900.0, 2: 1.0, 3: 2.0}, limit_m=10,
    )  # fmt: skip
    assert vouched == is_right
