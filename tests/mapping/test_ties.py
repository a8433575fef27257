import numpy as np
import pycolmap
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.ties import find_ties


def cut(model, kept):
    """Copy a model with some of its photos only."""
    part = pycolmap.Reconstruction(model)
    for image_id in sorted(set(part.reg_image_ids()) - set(kept)):
        part.deregister_frame(part.image(image_id).frame_id)
    return part


def moved(model, sim):
    model.transform(sim)
    return model


SIM = pycolmap.Sim3d(
    1.7,
    pycolmap.Rotation3d(Rotation.from_euler("xyz", [20, -40, 130], degrees=True).as_matrix()),
    np.array([4.0, -9, 2]),
)


def off(found, expected):
    error = expected.inverse() * found
    return abs(np.log(error.scale)), np.degrees(error.rotation.angle())


@pytest.mark.parametrize("n_shared", [6, 0])
def test_two_halves_of_a_street_find_each_other(solved_street, n_shared):
    street, whole, cache = solved_street
    ids, half = street.ids, street.n_photos // 2
    first = cut(whole, ids[: half + n_shared // 2])
    second = moved(cut(whole, ids[half - n_shared // 2 :]), SIM)
    (tie,) = find_ties([first, second], cache.correspondence_graph, seed=0)
    assert (tie.a, tie.b) == (0, 1)
    assert tie.n_agree > 0.8 * tie.n_points
    scale, turn_deg = off(tie.a_from_b, SIM.inverse())
    assert scale < 0.01
    assert turn_deg < 0.3


def test_models_that_see_nothing_in_common_have_no_tie(solved_street):
    street, whole, cache = solved_street
    ends = [cut(whole, street.ids[:10]), cut(whole, street.ids[-10:])]
    assert find_ties(ends, cache.correspondence_graph, seed=0) == []


def test_the_same_seed_gives_the_same_tie(solved_street):
    street, whole, cache = solved_street
    parts = [cut(whole, street.ids[:20]), cut(whole, street.ids[16:])]
    one, two = (find_ties(parts, cache.correspondence_graph, seed=3)[0] for _ in range(2))
    assert one.a_from_b.matrix().tobytes() == two.a_from_b.matrix().tobytes()
