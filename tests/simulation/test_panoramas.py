"""Panoramas of a town: equirectangular pictures with known poses."""

from dataclasses import replace

import numpy as np
import pytest

from citysplat_core.simulation import TownSettings, build_town, plan_captures, render
from citysplat_core.simulation.cameras import Camera
from citysplat_core.simulation.exposure import photo
from citysplat_core.simulation.tables import truth_table, world_table

ALL = {"panorama_share": 1.0, "panorama_width_px": 256, "dusk_share": 0.0, "moving_cars": 0.0}


@pytest.fixture(scope="module")
def town():
    return build_town(TownSettings(n_photos=60, **ALL))


@pytest.fixture(scope="module")
def capture(town):
    return next(c for c in plan_captures(town) if c.camera.is_pano and not c.is_blurred)


def test_a_panorama_shows_what_cameras_in_all_directions_see(town, capture):
    view = render(town, capture)
    assert view.rgb.shape == (128, 256, 3)
    yaw = np.radians(40.0)
    turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
    pinhole = Camera(
        name="p", make="", model="", full_width=9, full_height=9, width=9, height=9,
        focal_px=256 / (2 * np.pi), k1=0.0, k2=0.0,
    )  # fmt: skip
    narrow = replace(
        capture,
        rotation=turn @ capture.rotation,
        sequence=replace(capture.sequence, camera=pinhole),
    )
    ahead = render(town, narrow)
    column = round((40 / 360 + 0.5) * 256)
    patch = view.rgb[62:66, column - 2 : column + 2].reshape(-1, 3).astype(float).mean(axis=0)
    seen = ahead.rgb[2:7, 2:7].reshape(-1, 3).astype(float).mean(axis=0)
    assert np.abs(patch - seen).max() < 40
    middle = view.depth_m[63:65, column - 1 : column + 1]
    assert np.median(middle) == pytest.approx(float(ahead.depth_m[4, 4]), rel=0.15)


def test_the_left_and_right_edges_of_a_panorama_fit(town, capture):
    picture = render(town, capture).rgb.astype(int)
    seam = np.abs(picture[:, 0] - picture[:, -1]).mean()
    inside = np.abs(np.diff(picture, axis=1)).mean()
    assert seam < 2.5 * inside


def test_distances_of_the_ground_below_are_the_height_of_the_camera(town, capture):
    depth = render(town, capture).depth_m
    height_m = (town.town_from_enu @ capture.centre)[2]
    assert np.median(depth[-4:]) == pytest.approx(height_m, rel=0.02)


def test_the_car_below_hides_the_road(town, capture):
    picture = photo(town, capture)
    assert picture[-20:].mean() < 0.5 * picture[70:80].mean()


def test_the_tables_say_that_it_is_a_panorama_and_give_no_lens(town):
    captures = plan_captures(town)
    world, truth = world_table(town, captures).to_pandas(), truth_table(town, captures).to_pandas()
    panos = world.is_pano.to_numpy()
    assert 0 < panos.sum() < len(panos)
    assert set(world.camera_type[panos]) == {"spherical"}
    assert world.camera_parameters[panos].isna().all()
    assert world.camera_parameters[~panos].notna().any()
    assert set(zip(world.width[panos], world.height[panos], strict=True)) == {(256, 128)}
    assert (truth.is_pano.to_numpy() == panos).all()


def test_a_town_without_panoramas_is_as_it_was_and_with_them_only_cameras_change():
    plain = plan_captures(build_town(TownSettings(n_photos=60)))
    mixed = plan_captures(build_town(TownSettings(n_photos=60, panorama_share=0.5)))
    assert not any(capture.camera.is_pano for capture in plain)
    assert any(capture.camera.is_pano for capture in mixed)
    for before, after in zip(plain, mixed, strict=True):
        assert before.image_id == after.image_id
        np.testing.assert_array_equal(before.centre, after.centre)
