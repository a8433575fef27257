from copy import deepcopy

import numpy as np
import pytest

from citysplat_core.mapping.components import judge
from citysplat_core.mapping.vouching import points_of
from citysplat_core.settings import MappingSettings
from tests.mapping.conftest import bend_gps


def judged(street, model=None, *, partners=None, home=None, kept=(), **settings):
    return judge(
        model or street.model(),
        positions=street.positions(),
        home_ids=set(street.ids) if home is None else home,
        partners=partners or {},
        beside={},
        settings=MappingSettings(**settings),
        kept=kept,
    )


def test_a_true_model_is_accepted_without_a_word(make_street):
    component = judged(make_street())
    assert component.accepted
    assert component.is_trusted
    assert component.reason == ""
    assert component.numbers["extent_m"] == pytest.approx(90, abs=3)


def test_a_photo_that_nobody_vouches_for_is_pruned(make_street):
    street = make_street()
    street.gps[4, :2] += (0, 60)
    component = judged(street)
    assert component.accepted
    assert list(component.pruned) == [street.ids[4]]
    assert component.pruned[street.ids[4]] == pytest.approx(60, abs=3)
    assert component.numbers["n_images"] == 29


def test_few_photos_are_refused(make_street):
    component = judged(make_street(n_photos=5))
    assert (component.accepted, component.reason) == (False, "5 photos are left, fewer than 6")


def test_a_model_without_home_photos_is_refused(make_street):
    assert judged(make_street(), home=set()).reason == "it holds no photo of this box"


def test_scattered_gps_is_refused_with_the_residual(make_street):
    street = make_street()
    street.gps[:, :2] += np.random.default_rng(0).normal(0, 60, (30, 2))
    component = judged(street)
    assert not component.accepted
    assert "GPS residual median" in component.reason or "contradict GPS" in component.reason


def test_poor_gps_is_accepted_with_a_warning(make_street):
    street = make_street(corners=((0, 0), (90, 0), (90, 60)))
    street.gps[:, :2] += np.random.default_rng(0).normal(0, 9, (30, 2))
    component = judged(street)
    assert component.accepted
    assert not component.is_trusted
    assert component.reason.startswith("warning: GPS residual median")
    assert not judged(street, max_median_residual_share=0).accepted


def test_a_firm_model_is_trusted_though_its_gps_is_poor(flight):
    bend_gps(flight)
    component = judged(flight, flight.solved())
    assert component.reason.startswith("warning: GPS residual median")
    assert component.is_trusted
    assert not judged(flight).is_trusted  # without a point nothing holds it


def test_a_firm_model_that_is_refused_is_not_trusted(flight):
    bend_gps(flight)
    component = judged(flight, flight.solved(), max_median_residual_share=0)
    assert not component.accepted
    assert not component.is_trusted


def test_a_scale_that_gps_hardly_fixes_is_refused(make_street):
    street = make_street(corners=((0, 0), (4, 0)), gps_noise_m=2.0)
    assert "fixes its scale to" in judged(street).reason


@pytest.mark.parametrize("min_shared", [1, 10])
def test_neighbours_photos_that_see_nothing_of_the_box_are_taken_out(solved_street, min_shared):
    street, solved, _ = solved_street
    home = set(street.ids[:15])
    seen = {i: points_of(solved, i) for i in street.ids}
    at_home = set().union(*(seen[i] for i in home))
    few = {i for i in street.ids if i not in home and len(seen[i] & at_home) < min_shared}
    component = judged(street, deepcopy(solved), home=home, min_shared_points=min_shared)
    assert 0 < len(few) < 25
    assert component.loose == few
    assert component.accepted
    assert set(component.image_ids) == set(street.ids) - few
    assert component.numbers["n_images"] == 40 - len(few)


def test_loose_photos_stay_where_they_are_wanted(solved_street):
    street, solved, _ = solved_street
    home, last = set(street.ids[:15]), street.ids[-1]
    assert not judged(street, deepcopy(solved), home=home, min_shared_points=0).loose
    every = judged(street, deepcopy(solved), home=home).loose
    assert last in every
    component = judged(street, deepcopy(solved), home=home, kept={last})
    assert component.loose == every - {last}
    assert last in component.image_ids
