"""Cutting a city into boxes, and the fringes between them."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citysplat_core.errors import StorageError
from citysplat_core.geography import (
    Box,
    BoxPlan,
    Fringe,
    box_bounds,
    load_plan,
    neighbours,
    quadkey_of,
    tile_of,
)
from citysplat_core.geography.cutting import assign_boxes, find_fringes

seeds = st.integers(0, 2**32 - 1)


def town(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Positions along a few streets around Lund."""
    rng = np.random.default_rng(seed)
    lon = 13.19 + 0.02 * rng.random(n) ** 2
    lat = 55.70 + 0.01 * np.round(rng.random(n) * 8) / 8 + 1e-5 * rng.normal(size=n)
    return lon, lat


def cut(lon, lat, **changes):
    return assign_boxes(lon, lat, **{"min_zoom": 15, "max_zoom": 18, "max_images": 40, **changes})


@given(seeds)
@settings(max_examples=25)
def test_the_order_of_photos_does_not_change_the_plan(seed):
    lon, lat = town(seed)
    order = np.random.default_rng(seed).permutation(len(lon))
    np.testing.assert_array_equal(cut(lon, lat)[order], cut(lon[order], lat[order]))


@given(seeds)
@settings(max_examples=25)
def test_every_photo_has_one_box_and_it_contains_the_photo(seed):
    lon, lat = town(seed)
    for key, x, y in zip(cut(lon, lat), lon, lat, strict=True):
        west, south, east, north = box_bounds(str(key))
        assert west <= x < east
        assert south <= y <= north


@given(seeds)
@settings(max_examples=25)
def test_boxes_never_overlap_and_only_the_finest_may_be_too_full(seed):
    keys = [str(k) for k in cut(*town(seed))]
    counts = Counter(keys)
    for a in counts:
        assert 15 <= len(a) <= 18
        assert not any(a != b and b.startswith(a) for b in counts)
        assert counts[a] <= 40 or len(a) == 18


def test_a_box_is_cut_only_when_it_is_too_full():
    lon, lat = town(1, 200)
    assert {len(str(k)) for k in cut(lon, lat, max_images=200)} == {15}
    assert max(len(str(k)) for k in cut(lon, lat, max_images=20)) > 15


def test_photos_added_far_away_leave_other_boxes_alone():
    lon, lat = town(2)
    before = cut(lon, lat)
    after = cut(np.append(lon, [13.5] * 50), np.append(lat, [55.9] * 50))
    np.testing.assert_array_equal(before, after[: len(before)])


@given(seeds)
@settings(max_examples=25)
def test_fringes_are_the_touching_pairs_sorted_and_named_once(seed):
    keys = sorted({str(k) for k in cut(*town(seed, 150))})
    found = find_fringes(keys)
    expected = [
        (a, b, neighbours(a, b))
        for i, a in enumerate(keys)
        for b in keys[i + 1 :]
        if neighbours(a, b)
    ]
    assert found == sorted(expected)
    assert all(a < b for a, b, _ in found)
    assert find_fringes(reversed(keys)) == found


def test_a_grid_of_boxes_has_edges_and_corners():
    keys = [quadkey_of(17, 70_000 + i, 40_000 + j) for i in range(3) for j in range(3)]
    kinds = Counter(kind for _, _, kind in find_fringes(keys))
    assert kinds == {"edge": 12, "corner": 8}


def test_boxes_across_the_border_of_coarser_tiles_still_touch():
    x, y = tile_of([13.19], [55.7], 14)
    west = quadkey_of(14, int(x[0]), int(y[0])) + "1313"
    east = quadkey_of(14, int(x[0]) + 1, int(y[0]))
    assert find_fringes([west, east]) == [(*sorted([west, east]), "edge")]


def plan() -> BoxPlan:
    a, b = quadkey_of(16, 100, 100), quadkey_of(16, 101, 100)

    def box_of(key):
        west, south, east, north = box_bounds(key)
        return Box(
            key=key, zoom=16, n_images=3, west=west, south=south, east=east, north=north,
            center_east_m=0.0, center_north_m=0.0,
        )  # fmt: skip

    fringe = Fringe(key=f"{a}--{b}", a=a, b=b, kind="edge", n_images=2)
    return BoxPlan(
        city="town", boxes=(box_of(a), box_of(b)), fringes=(fringe,), estimates={"pairs": 1.0}
    )


def test_a_plan_is_read_back_as_it_was_written(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan().to_json()))
    assert load_plan(path) == plan()


def test_a_plan_knows_who_is_next_to_whom():
    a, b = (box.key for box in plan().boxes)
    assert plan().neighbours_of(a) == [b]
    assert plan().fringes_of(b) == [f"{a}--{b}"]
    assert plan().fringes_of("0123") == []


def test_the_digest_follows_the_keys_only():
    value = plan().to_json()
    fewer = BoxPlan(city="town", boxes=plan().boxes, fringes=())
    renamed = BoxPlan(city="other", boxes=plan().boxes, fringes=plan().fringes)
    assert fewer.digest != value["digest"]
    assert renamed.digest == value["digest"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, r"plan of version 99; expected version 1"),
        ({"boxes": None}, r"is not a box plan"),
        ({"boxes": [{"key": "0"}]}, r"is not a box plan"),
        ({"fringes": 3}, r"is not a box plan"),
    ],
)
def test_a_plan_that_is_not_one_is_refused(tmp_path, change, message):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**plan().to_json(), **change}))
    with pytest.raises(StorageError, match=message):
        load_plan(path)


def test_a_missing_or_broken_plan_file_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"plan.json does not exist"):
        load_plan(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(StorageError, match=r"plan.json is not JSON"):
        load_plan(tmp_path / "plan.json")
