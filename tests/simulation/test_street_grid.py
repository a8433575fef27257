import pytest

from citysplat_core.simulation import TownSettings
from citysplat_core.simulation.street_grid import street_grid


@pytest.mark.parametrize("n_photos", [160, 200, 240])
def test_a_demo_sized_town_is_two_by_two_streets(n_photos):
    grid = street_grid(TownSettings(n_photos=n_photos))
    assert (grid.n_east, grid.n_north) == (2, 2)
    west, south, east, north = grid.bounds_m
    assert 95 < east - west < 160
    assert 95 < north - south < 160


def test_few_photos_drive_one_street_of_two_blocks():
    grid = street_grid(TownSettings(n_photos=40))
    assert (grid.n_east, grid.n_north, grid.only_east) == (2, 1, True)


@pytest.mark.parametrize("n_photos", [100, 1_000, 20_000])
def test_the_spacing_stays_near_the_wish(n_photos):
    grid = street_grid(TownSettings(n_photos=n_photos))
    assert 0.8 * 4.0 < grid.spacing_m < 1.8 * 4.0


def test_streets_never_run_through_the_origin():
    for count in (1, 2, 3, 4):
        settings = TownSettings(n_photos=300, n_streets_east=count, n_streets_north=count)
        grid = street_grid(settings)
        assert min(abs(grid.street_x(i)) for i in range(count)) == pytest.approx(26.0)
