import pycolmap

from citysplat_core.mapping.lenses import fix_lenses
from tests.mapping.test_ties import cut


def test_a_street_round_a_corner_tells_its_lens(solved_street):
    _, whole, cache = solved_street
    assert fix_lenses(whole, cache, {7}) == set()


def test_a_straight_street_does_not(solved_street):
    street, whole, cache = solved_street
    straight = cut(whole, street.ids[:24])
    assert fix_lenses(straight, cache, {7}) == {7}
    assert fix_lenses(straight, cache, ()) == set()


def test_the_known_lens_of_few_photos_is_put_back(solved_street):
    street, whole, cache = solved_street
    few = cut(pycolmap.Reconstruction(whole), street.ids[:4])
    known = list(cache.camera(7).params)
    few.camera(7).params = [2 * known[0], *known[1:]]
    assert fix_lenses(few, cache, ()) == {7}
    assert list(few.camera(7).params) == known
