import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from citysplat_core.mapping.slopes import (
    cauchy,
    cauchy_slopes,
    cross_matrices,
    rotvec_slopes,
    sparse_rows,
    turn_slopes,
)

LENGTHS = (0.0, 1e-6, 9.9e-3, 1.01e-2, 0.3, 2.0, 3.1)


def vectors(length):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    return length * rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_differences(function, rows, step=1e-6):
    """Give central differences of a row-wise function, shape (N, 3, 3)."""
    columns = [(function(rows + d) - function(rows - d)) / (2 * step) for d in step * np.eye(3)]
    return np.stack(columns, axis=2)


def test_a_cross_matrix_crosses():
    rows, other = vectors(2.0), vectors(3.0)[::-1]
    crossed = (cross_matrices(rows) @ other[:, :, None])[:, :, 0]
    assert crossed == pytest.approx(np.cross(rows, other))


@pytest.mark.parametrize("length", LENGTHS)
def test_turn_slopes_are_those_of_finite_differences(length):
    rows = vectors(length)
    back = Rotation.from_rotvec(rows).inv()

    def after(moved):
        return (Rotation.from_rotvec(moved) * back).as_rotvec()

    assert turn_slopes(rows) == pytest.approx(by_differences(after, rows), abs=1e-8)


@pytest.mark.parametrize("length", LENGTHS)
def test_rotvec_slopes_undo_turn_slopes(length):
    rows = vectors(length)
    both = rotvec_slopes(rows) @ turn_slopes(rows)
    assert both == pytest.approx(np.broadcast_to(np.eye(3), both.shape), abs=1e-9)


@pytest.mark.parametrize("length", [*LENGTHS, 50.0, 1e4])
def test_robust_slopes_are_those_of_finite_differences(length):
    rows = vectors(length)
    found = by_differences(lambda moved: cauchy(moved, 3.0), rows, 1e-6 * max(1.0, length))
    assert cauchy_slopes(rows, 3.0) == pytest.approx(found, rel=1e-6, abs=1e-8)


def test_robust_rows_square_to_a_cauchy_loss():
    rows = np.concatenate([vectors(length) for length in (1e-3, 0.029, 0.031, 5.0, 900.0)])
    squared = (cauchy(rows, 3.0) ** 2).sum(axis=1)
    assert squared == pytest.approx(9 * np.log1p((rows**2).sum(axis=1) / 9), rel=1e-9)


def test_blocks_stand_in_the_columns_of_their_nodes():
    pair = np.arange(1.0, 29.0).reshape(1, 2, 2, 7)
    alone = np.full((1, 1, 1, 7), 40.0)
    dense = sparse_rows([(pair, np.array([[2, 0]])), (alone, np.array([[1]]))], 3).toarray()
    assert dense[0].tolist() == [*range(8, 15), *[0] * 7, *range(1, 8)]
    assert dense[1].tolist() == [*range(22, 29), *[0] * 7, *range(15, 22)]
    assert dense[2].tolist() == [*[0] * 7, *[40] * 7, *[0] * 7]


def test_no_rows_of_a_kind_leave_none():
    nothing = (np.zeros((0, 3, 2, 7)), np.zeros((0, 2), np.int64))
    alone = (np.ones((2, 1, 1, 7)), np.array([[0], [1]]))
    assert sparse_rows([nothing, alone], 2).shape == (2, 14)
