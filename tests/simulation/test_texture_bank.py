import numpy as np

from citysplat_core.simulation.texture_bank import N_TEXTURES, PLAIN, STAIN, texture_bank


def test_every_picture_has_all_its_levels():
    bank = texture_bank(7)
    assert len(bank.layout) == N_TEXTURES == PLAIN + 1
    for width, height, n_levels, *starts in bank.layout.tolist():
        assert width & (width - 1) == 0
        assert height & (height - 1) == 0
        assert 2 ** (n_levels - 1) == max(width, height)
        last = bank.pixels[starts[n_levels - 1]]
        first = bank.pixels[starts[0] : starts[0] + width * height]
        assert abs(float(last[3]) - first[:, 3].mean()) < 3


def test_the_last_level_is_the_mean_colour():
    bank = texture_bank(7)
    width, height, n_levels, *starts = bank.layout[STAIN].tolist()
    mean = bank.pixels[starts[0] : starts[0] + width * height].mean(axis=0)
    np.testing.assert_allclose(bank.pixels[starts[n_levels - 1]], mean, atol=3)


def test_the_same_seed_paints_the_same_pictures():
    first = texture_bank(7).pixels.copy()
    texture_bank.cache_clear()
    np.testing.assert_array_equal(texture_bank(7).pixels, first)
