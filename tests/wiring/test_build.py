"""The definitions of a city: what is there, and how it hangs together."""

from pathlib import Path

import dagster as dg
import pytest

from citysplat_core.errors import ConfigError
from citysplat_dagster.definitions import defs as load_defs
from citysplat_dagster.jobs import STAGES
from citysplat_dagster.recipes import RECIPES
from tests.wiring.conftest import TinyCity, TinySteps

GOLDEN = Path(__file__).with_name("assets.txt")


def spec_lines(defs: dg.Definitions) -> list[str]:
    return sorted(
        f"{s.key.to_user_string()} group={s.group_name} "
        f"deps={sorted(d.asset_key.to_user_string() for d in s.deps)}"
        for s in defs.resolve_all_asset_specs()
    )


def test_before_the_plan_only_discovery_is_there(city: TinyCity) -> None:
    names = {s.key.to_user_string() for s in city.defs().resolve_all_asset_specs()}
    assert names == {"tile_ledger", "image_catalog", "box_plan"}


def test_the_plan_brings_every_asset_and_job(city: TinyCity) -> None:
    assert city.run("discover_city").success
    defs = city.defs()
    names = {s.key.to_user_string() for s in defs.resolve_all_asset_specs()}
    assert names == {*RECIPES, "box_rows"}
    for job in STAGES:
        defs.resolve_job_def(job)


def test_the_graph_is_the_one_that_was_agreed(city: TinyCity) -> None:
    assert city.run("discover_city").success
    assert spec_lines(city.defs()) == GOLDEN.read_text().splitlines()


def test_a_fringe_needs_its_two_boxes_and_a_box_its_fringes(city: TinyCity) -> None:
    from citysplat_core.geography import load_plan
    from citysplat_dagster.partitions import partitions_of

    assert city.run("discover_city").success
    plan = load_plan(city.root / "plan.json")
    parts = partitions_of(plan)
    assert parts.fringes is not None
    assert parts.fringes_from_boxes is not None
    assert parts.boxes_from_fringes is not None
    for fringe in plan.fringes:
        up = parts.fringes_from_boxes.get_upstream_mapped_partitions_result_for_partitions(
            parts.fringes.subset_with_partition_keys([fringe.key]), parts.fringes, parts.boxes
        ).partitions_subset
        assert set(up.get_partition_keys()) == {fringe.a, fringe.b}
    for box in plan.boxes:
        up = parts.boxes_from_fringes.get_upstream_mapped_partitions_result_for_partitions(
            parts.boxes.subset_with_partition_keys([box.key]), parts.boxes, parts.fringes
        ).partitions_subset
        assert set(up.get_partition_keys()) == set(plan.fringes_of(box.key))
        around = parts.boxes_from_boxes.get_upstream_mapped_partitions_result_for_partitions(
            parts.boxes.subset_with_partition_keys([box.key]), parts.boxes, parts.boxes
        ).partitions_subset
        assert set(around.get_partition_keys()) == {box.key, *plan.neighbours_of(box.key)}


def test_the_code_location_without_a_city_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CITYSPLAT_CITY", raising=False)
    with pytest.raises(ConfigError, match=r"CITYSPLAT_CITY is not set.*citysplat dev"):
        load_defs()


def test_the_code_location_loads_the_city_of_the_environment(
    city: TinyCity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITYSPLAT_CITY", str(city.root / "city.toml"))
    assert {s.key.to_user_string() for s in load_defs().resolve_all_asset_specs()} == {
        "tile_ledger",
        "image_catalog",
        "box_plan",
    }


def test_the_refetch_schedule_is_off_and_its_tick_reads_the_source_again(
    city: TinyCity, steps: TinySteps
) -> None:
    assert city.run("discover_city").success
    schedule = city.defs().resolve_schedule_def("refetch_imagery")
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    tick = schedule.evaluate_tick(
        dg.build_schedule_context(instance=city.instance, scheduled_execution_time=None)
    )
    assert tick.run_requests is not None
    (request,) = tick.run_requests
    before = len(steps.ran("tile_ledger"))
    assert city.run("discover_city", **request.run_config).success
    assert len(steps.ran("tile_ledger")) == before + 1
