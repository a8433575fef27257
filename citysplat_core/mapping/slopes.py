"""Derivatives of what the pose graph is made of: turns, robust lengths, sparse rows.

The Jacobians of the rotation vector are those of Sola, Deray and Atchuthan, "A micro Lie theory for
state estimation in robotics" (2018), equations 145 and 146.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SMALL = 1e-2
"""Below this the closed forms lose digits; the series used instead err by less than 1e-9."""


def cross_matrices(vectors: Floats) -> Floats:
    """Give the matrices K with ``K @ w = cross(v, w)``, shape (N, 3, 3), of vectors (N, 3)."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.moveaxis(np.array(rows), 2, 0)


def turn_slopes(rotvec: Floats) -> Floats:
    """Say how a turn follows its rotation vector.

    Args:
        rotvec: Rotation vectors, radians, shape (N, 3).

    Returns:
        Matrices J with ``R(v + dv) = R(J @ dv) @ R(v)`` for small dv, shape (N, 3, 3).
    """
    angle = np.linalg.norm(rotvec, axis=1)
    safe = np.maximum(angle, _SMALL)
    near = angle < _SMALL
    first = np.where(near, 1 / 2 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    second = np.where(near, 1 / 6 - angle**2 / 120, (safe - np.sin(safe)) / safe**3)
    cross = cross_matrices(rotvec)
    return np.asarray(
        np.eye(3) + first[:, None, None] * cross + second[:, None, None] * cross @ cross
    )


def rotvec_slopes(rotvec: Floats) -> Floats:
    """Say how a rotation vector follows its turn: the inverses of ``turn_slopes``.

    Args:
        rotvec: Rotation vectors, radians, no longer than pi, shape (N, 3).

    Returns:
        Matrices, shape (N, 3, 3).
    """
    angle = np.linalg.norm(rotvec, axis=1)
    safe = np.maximum(angle, _SMALL)
    exact = 1 / safe**2 - 1 / (2 * safe * np.tan(safe / 2))
    second = np.where(angle < _SMALL, 1 / 12 + angle**2 / 720, exact)
    cross = cross_matrices(rotvec)
    return np.asarray(np.eye(3) - cross / 2 + second[:, None, None] * cross @ cross)


def cauchy(whitened: Floats, reach: float) -> Floats:
    """Scale rows so that their squares sum to a Cauchy loss, shape (N, 3) as given."""
    weight, _ = _cauchy_weights(whitened, reach)
    return np.asarray(whitened * weight[:, None])


def cauchy_slopes(whitened: Floats, reach: float) -> Floats:
    """Give the derivatives of ``cauchy`` by its rows, shape (N, 3, 3)."""
    weight, bend = _cauchy_weights(whitened, reach)
    outer = whitened[:, :, None] * whitened[:, None, :]
    return np.asarray(weight[:, None, None] * np.eye(3) + bend[:, None, None] * outer)


def _cauchy_weights(whitened: Floats, reach: float) -> tuple[Floats, Floats]:
    """Give the weight of each row, and the weight's slope by the row's length over that length."""
    share = np.linalg.norm(whitened, axis=1) / reach
    safe = np.maximum(share, _SMALL)
    root = np.sqrt(np.log1p(safe**2))
    near = share < _SMALL
    weight = np.where(near, 1 - share**2 / 4 + 13 / 96 * share**4, root / safe)
    exact = (1 / ((1 + safe**2) * root) - root / safe**2) / safe
    bend = np.where(near, -1 / 2 + 13 / 24 * share**2, exact)
    return np.asarray(weight), np.asarray(bend / reach**2)


def sparse_rows(blocks: list[tuple[Floats, Ints]], n_nodes: int) -> csr_array:
    """Put blocks of derivatives into one sparse matrix.

    Args:
        blocks: For each kind of residual its derivatives by the seven numbers of each of the K
            nodes that it looks at, shape (N, rows, K, 7), and these nodes, shape (N, K).
        n_nodes: Number of nodes.

    Returns:
        A matrix with the rows of all blocks in their order, and 7 columns a node.
    """
    data, indices, lengths = [], [], []
    for values, nodes in blocks:
        columns = (nodes[:, None, :, None] * 7 + np.arange(7)).astype(np.int32)
        data.append(values.ravel())
        indices.append(np.broadcast_to(columns, values.shape).ravel())
        n_rows = values.shape[0] * values.shape[1]
        lengths.append(np.full(n_rows, values.shape[2] * 7, np.int32))
    starts = np.concatenate([np.zeros(1, np.int32), np.cumsum(np.concatenate(lengths))])
    parts = (np.concatenate(data), np.concatenate(indices), starts.astype(np.int32))
    return csr_array(parts, shape=(len(starts) - 1, 7 * n_nodes))
