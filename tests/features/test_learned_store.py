import numpy as np

from citysplat_core.features.learned_store import pack_descriptors, unpack_descriptors


def test_a_packed_descriptor_keeps_its_direction_and_takes_a_byte_a_value():
    values = np.random.default_rng(2).normal(size=(500, 64)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    packed = pack_descriptors(values)
    assert packed.dtype == np.int8
    assert packed.nbytes == 500 * 64
    cosine = (unpack_descriptors(packed) * values).sum(axis=1)
    assert np.degrees(np.arccos(np.minimum(cosine, 1))).max() < 0.7


def test_no_descriptors_are_packed_as_none():
    packed = pack_descriptors(np.zeros((0, 64), dtype=np.float32))
    assert unpack_descriptors(packed).shape == (0, 64)
