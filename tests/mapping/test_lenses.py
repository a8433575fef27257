from copy import deepcopy
from types import SimpleNamespace

import pycolmap
import pytest

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


@pytest.mark.parametrize(("radial", "is_kept"), [(0.0, False), (-0.1, True)])
def test_ten_photos_do_not_tell_more_of_a_distortion_that_is_known(solved_street, radial, is_kept):
    street, whole, cache = solved_street
    corner = cut(pycolmap.Reconstruction(whole), street.ids[::4])
    corner.camera(7).params = [*corner.camera(7).params[:3], 0.05]
    camera = deepcopy(cache.camera(7))
    camera.params = [*camera.params[:3], radial]
    known = SimpleNamespace(cameras={7: camera}, camera={7: camera}.get)
    assert (7 in fix_lenses(corner, known, {7})) == is_kept
    assert (corner.camera(7).params[3] == radial) == is_kept
