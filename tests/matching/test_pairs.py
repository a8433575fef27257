import numpy as np

from citysplat_core.matching.pairs import NO_SEQUENCE, propose_sequence_pairs, wrap_deg


def as_set(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(int(first), int(second)) for first, second in pairs}


def test_a_sequence_pairs_its_photos_by_time_not_by_row():
    captured_at = np.array([30, 10, 20, 40])
    pairs = propose_sequence_pairs(np.zeros(4, dtype=np.int64), captured_at, steps=(1, 2))
    assert as_set(pairs) == {(1, 2), (0, 2), (0, 3), (0, 1), (2, 3)}
    assert pairs.tolist() == sorted(pairs.tolist())


def test_sequences_do_not_mix_and_a_photo_without_one_has_no_partner():
    sequence = np.array([0, 1, 0, 1, NO_SEQUENCE, NO_SEQUENCE])
    pairs = propose_sequence_pairs(sequence, np.arange(6), steps=(1, 8))
    assert as_set(pairs) == {(0, 2), (1, 3)}


def test_steps_longer_than_the_sequence_give_nothing():
    pairs = propose_sequence_pairs(np.zeros(1, dtype=np.int64), np.zeros(1), steps=(1, 2, 4))
    assert pairs.shape == (0, 2)


def test_angles_wrap_at_half_a_turn():
    wrapped = wrap_deg(np.array([190.0, -190.0, 360.0, 179.0, np.nan]))
    np.testing.assert_allclose(wrapped, [-170.0, 170.0, 0.0, 179.0, np.nan])
