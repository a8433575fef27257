import numpy as np
import pytest

from citysplat_core.mapping import splitting
from citysplat_core.mapping.georegister import poses_of
from citysplat_core.mapping.splitting import level_places, split_models
from tests.mapping.conftest import bend_gps
from tests.mapping.test_ties import cut

GPS = {"noise_m": 3.0, "shared_m": 2.0}


def test_a_model_that_agrees_with_gps_stays_whole(solved_street):
    street, whole, _ = solved_street
    assert split_models([whole], street.positions(), **GPS) == [whole]


def test_the_cut_is_where_gps_wants_it_and_leaves_the_model_alone(solved_street):
    street, whole, _ = solved_street
    away = {
        i: p + np.array([40.0 * (k >= 24), 25.0 * (k >= 24), 0])
        for k, (i, p) in enumerate(street.positions().items())
    }
    parts = split_models([whole], away, **GPS)
    first, second = (sorted(part.reg_image_ids()) for part in parts)
    assert first + second == street.ids
    assert abs(len(first) - 24) <= 1
    assert whole.num_reg_images() == 40


def test_a_receiver_that_repeats_its_last_position_cuts_nothing(solved_street):
    street, whole, _ = solved_street
    given = street.positions()
    last = list(given)[-8]
    stuck = {i: given[last] if k >= len(given) - 8 else p for k, (i, p) in enumerate(given.items())}
    assert split_models([whole], stuck, noise_m=0.5, shared_m=0.5) == [whole]


def test_a_model_without_positions_stays_whole(solved_street):
    _, whole, _ = solved_street
    assert split_models([whole], {}, **GPS) == [whole]


@pytest.mark.parametrize("positions_of", [lambda street: street.positions(), lambda _: {}])
def test_level_places_have_the_shape_of_the_street(solved_street, positions_of):
    street, whole, _ = solved_street
    level = level_places(poses_of(whole), positions_of(street), sigma_m=4.0)
    lengths = [np.linalg.norm(p[-1] - p[0]) / np.linalg.norm(p[20] - p[0])
               for p in (level, street.centers[:, :2])]  # fmt: skip
    assert lengths[0] == pytest.approx(lengths[1], rel=0.01)


def test_ends_that_see_nothing_in_common_are_no_model(solved_street):
    street, whole, _ = solved_street
    ends = cut(whole, [*street.ids[:12], *street.ids[-12:]])
    parts = split_models([ends], street.positions(), **GPS)
    assert [sorted(part.reg_image_ids()) for part in parts] == [street.ids[:12], street.ids[-12:]]


def test_photos_that_look_down_are_placed_from_above(flight):
    level = level_places(poses_of(flight.model()), flight.positions(), sigma_m=4.0)
    sizes = [
        [np.linalg.norm(places[i] - places[0]) for i in (13, 27, 41)]
        for places in (level, flight.centers[:, :2])
    ]
    assert np.divide(*sizes) == pytest.approx(np.divide(*sizes).mean(), rel=0.05)
    assert split_models([whole := flight.solved()], flight.positions(), **GPS) == [whole]


def test_a_gps_that_is_poor_all_over_does_not_cut_what_holds(flight, monkeypatch):
    bend_gps(flight)
    whole = flight.solved()
    assert split_models([whole], flight.positions(), **GPS) == [whole]
    monkeypatch.setattr(splitting, "holds_at", lambda _, __: False)
    assert len(split_models([whole], flight.positions(), **GPS)) > 1


def test_a_gps_that_agrees_with_each_part_cuts_what_holds(flight):
    east = flight.centers[:, 0] > 24
    flight.gps[east, :2] += 15.0
    parts = split_models([flight.solved()], flight.positions(), **GPS)
    assert {frozenset(part.reg_image_ids()) for part in parts} == {
        frozenset(np.array(flight.ids)[side].tolist()) for side in (east, ~east)
    }
