"""A whole city through Dagster: order, failure, resume, staleness."""

import pandas as pd
from dagster import AssetKey
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from citysplat_core.city.status import box_rows, skip_reasons
from citysplat_core.city.summary import summarize
from citysplat_core.settings import load_city
from citysplat_core.storage import read_failures
from citysplat_dagster.tasks import tasks_of
from tests.wiring.conftest import TinyCity, TinySteps

PER_BOX = ("box_images", "box_features", "box_matches", "sparse_model", "splat")


def stale(city: TinyCity) -> dict[str, set[str]]:
    """Ask Dagster itself which partitions are stale."""
    graph = city.defs().resolve_asset_graph()
    resolver = CachingStaleStatusResolver(
        city.instance, graph, LoadingContextForTest(city.instance)
    )
    found: dict[str, set[str]] = {}
    for name in (*PER_BOX, "fringe_matches", "tile_ledger", "image_catalog", "box_plan"):
        keys = city.boxes() if name in PER_BOX else [None]
        for key in city.fringes() if name == "fringe_matches" else keys:
            if resolver.get_status(AssetKey(name), key) == StaleStatus.STALE:
                found.setdefault(name, set()).add(key or "")
    return found


def test_everything_is_made_once_and_a_second_run_makes_nothing(
    city: TinyCity, steps: TinySteps
) -> None:
    city.run_all()
    boxes, fringes = city.boxes(), city.fringes()
    assert len(boxes) >= 4
    assert fringes
    for asset in PER_BOX:
        assert steps.ran(asset) == sorted(boxes)
    assert steps.ran("fringe_matches") == sorted(fringes)
    made = len(steps.calls)
    city.run_all()
    assert len(steps.calls) == made


def test_a_changed_setting_makes_stale_only_what_reads_it(city: TinyCity, steps: TinySteps) -> None:
    city.run_all()
    assert stale(city) == {}
    city.change("iterations = 100", "iterations = 200")
    assert stale(city) == {"splat": set(city.boxes())}
    steps.calls.clear()
    city.run_all()
    assert {name for name, _ in steps.calls} == {"splat", "city_tiles"}
    assert stale(city) == {}


def test_putting_a_setting_back_takes_up_the_version_before(
    city: TinyCity, steps: TinySteps
) -> None:
    city.run_all()
    city.change("iterations = 100", "iterations = 200")
    city.run_all()
    steps.calls.clear()
    city.change("iterations = 200", "iterations = 100")
    city.run_all()
    assert steps.ran("splat") == []


def test_a_new_photo_remakes_its_own_box_and_leaves_the_far_ones(
    city: TinyCity, steps: TinySteps
) -> None:
    city.run_all()
    placed = load_rows(city)
    box = min(city.boxes())
    like = placed[placed["box"] == box].iloc[0]
    new = steps.catalog[steps.catalog["image_id"] == like["image_id"]].assign(
        image_id="99999999999999999", colmap_id=10_000
    )
    steps.catalog = pd.concat([steps.catalog, new], ignore_index=True)
    steps.calls.clear()
    refetch = {"ops": {"tile_ledger": {"config": {"refetch": True}}}}
    assert city.run("discover_city", **refetch).success
    for key in city.boxes():
        city.run("prepare_box", key)
    assert steps.ran("box_images") == [box]


def test_finding_the_same_again_remakes_nothing_after_the_ledger(
    city: TinyCity, steps: TinySteps
) -> None:
    city.run_all()
    steps.calls.clear()
    refetch = {"ops": {"tile_ledger": {"config": {"refetch": True}}}}
    assert city.run("discover_city", **refetch).success
    assert steps.calls == [("tile_ledger", "")]


def test_open_tiles_block_the_plan_and_are_asked_again(city: TinyCity, steps: TinySteps) -> None:
    steps.open_tiles = 2
    assert not city.run("discover_city").success
    assert steps.ran("image_catalog") == []
    assert not (city.root / "plan.json").exists()
    steps.open_tiles = 0
    assert city.run("discover_city").success


def test_a_box_that_fails_leaves_the_others_and_is_told(city: TinyCity, steps: TinySteps) -> None:
    assert city.run("discover_city").success
    bad = city.boxes()[0]
    steps.fails.add(("box_features", bad))
    city.run_all()
    others = [b for b in city.boxes() if b != bad]
    assert steps.ran("splat") == sorted(others)
    (failure, *rest) = [f for f in read_failures(city.root) if f.asset == "box_features"]
    assert not rest
    assert failure.partition == bad
    assert "fails on purpose" in failure.message
    _, rows = box_rows(load_city(city.root))
    (row,) = [r for r in rows if r[0] == bad]
    assert "FAILED" in row
    steps.fails.clear()
    city.run_all()
    assert steps.ran("splat")[-1:] != []
    assert sorted(set(steps.ran("splat"))) == sorted(city.boxes())
    assert read_failures(city.root) == []


def test_a_skipped_box_is_told_with_its_reason(city: TinyCity, steps: TinySteps) -> None:
    assert city.run("discover_city").success
    bad = city.boxes()[0]
    steps.skips["sparse_model", bad] = "2 photos, 6 needed"
    city.run_all()
    values = summarize(load_city(city.root))
    assert values["skipped"] == {f"sparse_model {bad}": "2 photos, 6 needed"}
    _, rows = box_rows(load_city(city.root))
    assert any("skip" in row for row in rows)
    assert skip_reasons(load_city(city.root)) == [f"{bad} sparse_model: 2 photos, 6 needed"]


def test_the_summary_adds_up(city: TinyCity) -> None:
    city.run_all()
    values = summarize(load_city(city.root))
    n = len(city.boxes())
    assert values["boxes"] == n
    assert values["fringes"] == len(city.fringes())
    assert values["images_used"] == 9 * n
    assert values["components"] == n
    assert values["splats"] == n
    assert values["pairs"]["spatial"]["verified"] == 7 * (n + len(city.fringes()))
    assert values["psnr_db"] == 22.0
    assert {s["name"] for s in values["stages"]} >= {"box_images", "splat", "fringe_matches"}


def test_tasks_wait_for_all_that_they_read(city: TinyCity) -> None:
    from citysplat_core.geography import load_plan

    assert city.run("discover_city").success
    plan = load_plan(city.root / "plan.json")
    tasks = tasks_of(plan)
    seen: set[str] = set()
    for task in tasks:
        assert task.after <= seen, f"{task.name} comes before what it waits for"
        seen.add(task.name)
    by_name = {t.name: t for t in tasks}
    box = plan.boxes[0].key
    assert {f"match_fringe {k}" for k in plan.fringes_of(box)} <= by_name[f"solve_box {box}"].after
    one = tasks_of(plan, frozenset({box}))
    assert [t.key for t in one if t.job == "train_box"] == [box]
    assert {t.key for t in one if t.job == "prepare_box"} == {box, *plan.neighbours_of(box)}


def load_rows(city: TinyCity) -> pd.DataFrame:
    return pd.read_parquet(city.resource().need("box_plan").path / "images.parquet")
