"""New imagery: Dagster sees whom it reaches, remakes those, and no other."""

import numpy as np
import pandas as pd
import pytest
from dagster import AssetKey
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from citysplat_core.geography import load_plan
from citysplat_dagster.box_rows import box_versions
from citysplat_dagster.inputs import box_rows
from tests.wiring.conftest import TinyCity, TinySteps
from tests.wiring.test_flow import stale

BY_BOX = ("box_images", "box_features", "box_matches", "sparse_model", "splat")
REFETCH = {"ops": {"tile_ledger": {"config": {"refetch": True}}}}


def versions(city: TinyCity) -> dict[str, str]:
    """The data version that Dagster holds of every box and fringe."""
    resolver = CachingStaleStatusResolver(
        city.instance,
        city.defs().resolve_asset_graph(),
        LoadingContextForTest(city.instance),
    )
    return {
        f"{name} {key}": resolver.get_current_data_version(AssetKey(name), key).value
        for name in (*BY_BOX, "fringe_matches")
        for key in (city.fringes() if name == "fringe_matches" else city.boxes())
    }


def add_photo(city: TinyCity, steps: TinySteps, box: str) -> None:
    """Put a photo where another one of the box stands, so that the plan keeps its shape."""
    plan = pd.read_parquet(city.resource().need("box_plan").path / "images.parquet")
    like = plan[plan["box"] == box].iloc[0]
    new = steps.catalog[steps.catalog["image_id"] == like["image_id"]].assign(
        image_id=str(10**17 + len(steps.catalog)), colmap_id=1000 + len(steps.catalog)
    )
    steps.catalog = pd.concat([steps.catalog, new], ignore_index=True)


def corner(city: TinyCity) -> str:
    """A box with the fewest neighbours."""
    plan = load_plan(city.root / "plan.json")
    return min(city.boxes(), key=lambda box: len(plan.neighbours_of(box)))


@pytest.fixture
def wide(steps: TinySteps, city: TinyCity) -> TinyCity:
    """A city with boxes that are no neighbours: 5 beside each other."""
    rng = np.random.default_rng(5)
    n = len(steps.catalog)
    steps.catalog = steps.catalog.assign(
        lon=13.1880 + rng.uniform(0, 0.0062, n), lat=55.6905 + rng.uniform(0, 0.0002, n)
    )
    city.change("13.1900,55.6900,13.1930,55.6915", "13.1870,55.6900,13.1960,55.6915")
    return city


def test_a_new_photo_reaches_its_box_its_fringes_and_neighbours_and_nobody_else(
    wide: TinyCity, steps: TinySteps
) -> None:
    wide.run_all()
    assert stale(wide) == {}
    plan, box = load_plan(wide.root / "plan.json"), corner(wide)
    around = {box, *plan.neighbours_of(box)}
    assert len(around) < len(wide.boxes()) - 1
    before = versions(wide)
    add_photo(wide, steps, box)
    assert wide.run("discover_city", **REFETCH).success
    assert wide.boxes() == [b.key for b in plan.boxes]
    seen = stale(wide)
    assert seen["box_images"] == {box}, "Dagster knows before anything is remade"
    steps.calls.clear()
    wide.run_all()
    assert steps.ran("box_images") == steps.ran("box_features") == [box]
    assert steps.ran("box_matches") == [box]
    assert set(steps.ran("fringe_matches")) == set(plan.fringes_of(box))
    assert set(steps.ran("sparse_model")) == around
    assert set(steps.ran("splat")) <= around | further(plan, around)
    after = versions(wide)
    changed = {key for key in after if after[key] != before[key]}
    per_box = {f"{name} {box}" for name in ("box_images", "box_features", "box_matches")}
    expected = per_box | {f"fringe_matches {key}" for key in plan.fringes_of(box)}
    expected |= {f"sparse_model {key}" for key in around}
    assert {key for key in changed if not key.startswith("splat")} == expected
    assert stale(wide) == {}


def further(plan, boxes):
    return {other for box in boxes for other in plan.neighbours_of(box)}


def test_a_removed_photo_reaches_its_box(wide: TinyCity, steps: TinySteps) -> None:
    wide.run_all()
    plan = pd.read_parquet(wide.resource().need("box_plan").path / "images.parquet")
    box = corner(wide)
    victim = plan[plan["box"] == box].image_id.iloc[-1]
    at = steps.catalog.image_id == victim
    steps.catalog = steps.catalog.assign(status=steps.catalog.status.where(~at, "gone"))
    assert wide.run("discover_city", **REFETCH).success
    assert stale(wide)["box_images"] == {box}


def test_a_refetch_that_finds_the_same_makes_nothing_stale(wide: TinyCity) -> None:
    wide.run_all()
    before = versions(wide)
    assert wide.run("discover_city", **REFETCH).success
    assert stale(wide) == {}
    assert versions(wide) == before


def test_the_rows_of_all_boxes_at_once_are_those_of_each(wide: TinyCity) -> None:
    assert wide.run("discover_city").success
    plan = wide.resource().need("box_plan").path
    assert box_versions(plan) == {box: box_rows(box, plan) for box in wide.boxes()}
