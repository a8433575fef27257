"""Images whose description failed are asked for again by a later run."""

from tests.wiring.conftest import TinyCity, TinySteps


def test_failed_descriptions_make_the_next_run_build_the_catalog_again(
    city: TinyCity, steps: TinySteps
) -> None:
    steps.failed_descriptions = 2
    city.run("discover_city")
    assert steps.ran("image_catalog") == [""]
    steps.failed_descriptions = 0
    city.run("discover_city")
    assert steps.ran("image_catalog") == ["", ""]
    city.run("discover_city")
    assert steps.ran("image_catalog") == ["", ""], "all are described: nothing to do"


def test_descriptions_that_go_on_failing_are_asked_for_once_a_day(
    city: TinyCity, steps: TinySteps
) -> None:
    steps.failed_descriptions = 2
    for _ in range(3):
        city.run("discover_city")
    assert steps.ran("image_catalog") == ["", ""]
