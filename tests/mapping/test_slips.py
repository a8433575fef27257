import numpy as np
import pycolmap
import pytest

from citysplat_core.mapping.slips import find_slips, part_slips

N = 24
SIGMA = {"sigma_m": 4.0, "seed": 0}


@pytest.fixture
def drive():
    """A drive of 24 photos, a step of 4 m each: places, GPS that is 1.5 m off, the sequence."""
    rng = np.random.default_rng(4)
    places = {i: np.array([4.0 * i, 0.1 * i]) for i in range(N)}
    positions = {i: np.append(p + rng.normal(0, 1.5, 2) + 1.0, 0.0) for i, p in places.items()}
    return places, positions, [list(range(N))]


def slipped(places, first, last, by):
    return {i: p + np.array(by) * (first <= i < last) for i, p in places.items()}


def test_a_drive_as_gps_says_has_no_slips(drive):
    assert find_slips(*drive) == []


@pytest.mark.parametrize("by", [(9.0, 0.0), (-13.0, 0.0), (0.0, 10.0)])
@pytest.mark.parametrize(("first", "last"), [(16, N), (0, 7), (15, 20)])
def test_a_run_that_jumps_is_found(drive, by, first, last):
    places, positions, sequences = drive
    found = find_slips(slipped(places, first, last, by), positions, sequences)
    assert found == [list(range(first, last))]


def test_gps_that_jumps_alone_is_no_slip(drive):
    places, positions, sequences = drive
    jumping = {i: p + np.array([12.0, 5.0, 0.0]) * (i >= 16) for i, p in positions.items()}
    assert find_slips(places, jumping, sequences) == []


def test_a_model_that_bends_slowly_has_not_slipped(drive):
    places, positions, sequences = drive
    bent = {i: p + np.array([0.0, 0.02 * i**2]) for i, p in places.items()}
    assert find_slips(bent, positions, sequences) == []


def test_a_step_over_photos_that_are_missing_is_no_jump(drive):
    places, positions, sequences = drive
    left = {i: p for i, p in slipped(places, 13, N, (9.0, 0.0)).items() if i not in (11, 12)}
    assert find_slips(left, positions, sequences) == []


def test_nobody_knows_without_sequences_or_positions(drive):
    places, positions, sequences = drive
    assert find_slips(places, positions, []) == []
    assert find_slips(places, {}, sequences) == []


def test_what_slipped_becomes_a_model_of_its_own(make_street):
    street = make_street(n_photos=40, gps_noise_m=0.5)
    model = street.model()
    assert part_slips([model], street.positions(), [street.ids], **SIGMA) == [model]
    for image_id in street.ids[28:]:
        frame = model.image(image_id).frame
        pose = frame.rig_from_world
        back = pycolmap.Rigid3d(pycolmap.Rotation3d(), -9.0 * one_metre(street, model))
        frame.rig_from_world = pose * back
    whole, apart = part_slips([model], street.positions(), [street.ids], **SIGMA)
    assert sorted(whole.reg_image_ids()) == street.ids[:28]
    assert sorted(apart.reg_image_ids()) == street.ids[28:]
    assert model.num_reg_images() == 40


def one_metre(street, model):
    """Give a metre along the street in the frame of a model."""
    ends = [model.image(i).projection_center() for i in (street.ids[0], street.ids[27])]
    return (ends[1] - ends[0]) / np.linalg.norm(street.centers[27] - street.centers[0])
