import numpy as np
import pytest

from citysplat_core.mapping.similarity import fit_plane_similarity


def cloud(rng, n=40):
    source = rng.normal(0, 1, (n, 2))
    turn = 3.0 * np.array([[0.8, -0.6], [0.6, 0.8]])
    return source, source @ turn.T + (100.0, -50.0)


def test_it_recovers_scale_turn_and_shift():
    rng = np.random.default_rng(0)
    source, target = cloud(rng)
    fit = fit_plane_similarity(source, target, sigma_m=4, rng=rng)
    assert fit.scale == pytest.approx(3.0)
    assert fit.residual_m.max() < 1e-9


def test_a_third_of_wild_positions_does_not_move_it():
    rng = np.random.default_rng(1)
    source, target = cloud(rng)
    target[:13] += rng.uniform(-2000, 2000, (13, 2))
    fit = fit_plane_similarity(source, target, sigma_m=0.5, rng=rng)
    assert fit.scale == pytest.approx(3.0, rel=0.01)
    assert fit.residual_m[13:].max() < 0.2


def test_one_place_has_no_similarity():
    rng = np.random.default_rng(2)
    source, target = cloud(rng)
    assert fit_plane_similarity(source, np.ones_like(target), sigma_m=4, rng=rng) is None
    assert fit_plane_similarity(np.ones_like(source), target, sigma_m=4, rng=rng) is None
    assert fit_plane_similarity(source[:0], target[:0], sigma_m=4, rng=rng) is None
