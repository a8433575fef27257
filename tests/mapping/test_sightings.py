import pycolmap

from citysplat_core.mapping.sightings import is_firm
from tests.mapping.test_ties import cut


def test_photos_from_the_air_hold_each_other(flight):
    assert is_firm(flight.solved())


def test_a_street_does_not_hold_where_it_is_cut(solved_street):
    assert not is_firm(solved_street[1])


def test_few_photos_are_never_firm(flight):
    assert not is_firm(cut(flight.solved(), flight.ids[:19]))


def test_photos_without_points_hold_nothing(flight):
    assert not is_firm(flight.model())
    assert not is_firm(pycolmap.Reconstruction())


def test_two_flights_that_a_few_photos_tie_are_not_firm(make_street):
    lines = ((0, 0), (90, 0), (90, 14), (0, 14))
    far = tuple((east, north + 300) for east, north in reversed(lines))
    both = make_street(n_photos=120, corners=(*lines, *far), looks_down=True)
    assert not is_firm(both.solved())
