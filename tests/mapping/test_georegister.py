import numpy as np
import pycolmap
import pytest

from citysplat_core.mapping.georegister import describe_positions, georegister


def tilt_deg(street, model, placed):
    """Angle between the true up and the georegistered model's up, in the true frame."""
    first = street.ids[0]
    moved = placed.city_from_model.transform_camera_world(model.image(first).cam_from_world())
    world_turn = moved.rotation.matrix().T @ street.poses[0].rotation.matrix()
    return np.degrees(np.arccos(np.clip(world_turn[2, 2], -1, 1)))


def errors_m(street, model, placed):
    moved = [
        placed.city_from_model.transform_camera_world(model.image(i).cam_from_world())
        for i in street.ids
    ]
    centers = np.array([pose.inverse().translation for pose in moved])
    return np.linalg.norm(centers - street.centers, axis=1)


@pytest.mark.parametrize("seed", range(5))
def test_a_straight_strip_is_not_tilted(make_street, seed):
    street = make_street(n_photos=20, gps_noise_m=2.0, seed=seed)
    model = street.model()
    placed = georegister(model, street.positions(), sigma_m=4, seed=0)
    assert tilt_deg(street, model, placed) < 2.0
    assert placed.up_source == "upright"


def test_a_street_with_a_turn_lands_on_its_place(make_street):
    street = make_street(corners=((0, 0), (60, 0), (60, 50)), gps_noise_m=0.3)
    model = street.model()
    placed = georegister(model, street.positions(), sigma_m=4, seed=0)
    assert np.median(errors_m(street, model, placed)) < 0.5
    assert placed.scale_std < 0.02


def test_one_position_wrong_by_a_kilometre_does_not_drag_the_model(make_street):
    street = make_street(gps_noise_m=0.3)
    street.gps[7, :2] += (900, -500)
    model = street.model()
    placed = georegister(model, street.positions(), sigma_m=4, seed=0)
    assert np.median(errors_m(street, model, placed)) < 0.6
    assert placed.residual_m[street.ids[7]] > 900


def test_missing_heights_leave_the_plane_right_and_the_height_at_zero(make_street):
    street = make_street(has_altitude=False)
    model = street.model()
    placed = georegister(model, street.positions(), sigma_m=4, seed=0)
    model.transform(placed.city_from_model)
    centers = np.array([model.image(i).projection_center() for i in street.ids])
    assert np.linalg.norm(centers[:, :2] - street.centers[:, :2], axis=1).max() < 1.0
    assert abs(np.median(centers[:, 2])) < 0.1


def test_some_missing_heights_are_filled_from_the_others(make_street):
    street = make_street()
    street.gps[::2, 2] = np.nan
    model = street.model()
    placed = georegister(model, street.positions(), sigma_m=4, seed=0)
    model.transform(placed.city_from_model)
    heights = [model.image(i).projection_center()[2] for i in street.ids]
    assert np.median(heights) == pytest.approx(2.0, abs=0.5)


def test_a_drone_that_looks_down_is_not_stood_on_its_side(make_street):
    corners = ((0, 0), (80, 0), (80, 20), (0, 20), (0, 40), (80, 40))
    street = make_street(n_photos=40, corners=corners, looks_down=True, gps_noise_m=2.0)
    model = street.model()
    placed = georegister(model, street.positions(), sigma_m=4, seed=0)
    assert tilt_deg(street, model, placed) < 5.0


def test_photos_at_one_point_give_nothing_and_a_reason(make_street):
    street = make_street()
    street.gps[:] = (10.0, 20.0, 2.0)
    assert georegister(street.model(), street.positions(), sigma_m=4, seed=0) is None
    assert "within 0.0 m" in describe_positions(street.model(), street.positions())


def test_fewer_than_three_positions_give_nothing_and_a_reason(make_street):
    street = make_street()
    positions = dict(list(street.positions().items())[:2])
    assert georegister(street.model(), positions, sigma_m=4, seed=0) is None
    assert "only 2 of its 30 photos" in describe_positions(street.model(), positions)


def test_the_same_seed_gives_the_same_place(make_street):
    street = make_street(gps_noise_m=3.0)
    one, two = (georegister(street.model(), street.positions(), sigma_m=4, seed=3) for _ in "ab")
    assert np.array_equal(one.city_from_model.matrix(), two.city_from_model.matrix())


def test_a_plain_similarity_would_tilt_the_strip(make_street):
    """The reason for this module; if it ever fails, georegistration could be simpler."""
    tilts = []
    for seed in range(5):
        street = make_street(n_photos=20, gps_noise_m=2.0, seed=seed)
        model = street.model()
        centers = np.array([model.image(i).projection_center() for i in street.ids])
        plain = pycolmap.estimate_sim3d(centers, street.gps)
        moved = plain.transform_camera_world(model.image(street.ids[0]).cam_from_world())
        turn = moved.rotation.matrix().T @ street.poses[0].rotation.matrix()
        tilts.append(np.degrees(np.arccos(np.clip(turn[2, 2], -1, 1))))
    assert max(tilts) > 20
