import itertools

import numpy as np
import pytest

from citysplat_core.matching import chunks
from citysplat_core.matching.chunks import chunks_of, order_pairs


def shuffled_grid(side: int) -> list[tuple[int, int]]:
    """Pairs of neighbours in a square of photos whose ids say nothing of where they stand."""
    ids = np.random.default_rng(3).permutation(side * side).reshape(side, side) + 100
    across = zip(ids[:, :-1].ravel(), ids[:, 1:].ravel(), strict=True)
    along = zip(ids[:-1].ravel(), ids[1:].ravel(), strict=True)
    return [(int(min(pair)), int(max(pair))) for pair in itertools.chain(across, along)]


def n_images(pairs, size: int) -> int:
    parts = [pairs[start : start + size] for start in range(0, len(pairs), size)]
    return sum(len({image for pair in part for image in pair}) for part in parts)


def test_pairs_that_follow_each_other_share_images():
    pairs = shuffled_grid(30)
    ordered = order_pairs(pairs)
    assert sorted(ordered) == sorted(pairs)
    assert n_images(ordered, 64) < n_images(sorted(pairs), 64) / 1.5


def test_the_order_does_not_depend_on_the_order_of_the_input():
    pairs = shuffled_grid(8)
    assert order_pairs(pairs[::-1]) == order_pairs(pairs)
    assert order_pairs([]) == []


@pytest.mark.parametrize(
    ("pairs_per_s", "sizes"),
    [(1.0, [8, 25, 25]), (0.1, [8, 2, 2]), (1e4, [8, 32, 128])],
)
def test_chunks_take_the_time_that_is_aimed_at(monkeypatch, pairs_per_s, sizes):
    now = 0.0
    monkeypatch.setattr(chunks.time, "monotonic", lambda: now)
    found = []
    for chunk in chunks_of([(n, n + 1) for n in range(10_000)], 8):
        found.append(len(chunk))
        now += len(chunk) / pairs_per_s
        if len(found) == 3:
            break
    assert found == sizes


def test_every_pair_is_in_one_chunk():
    pairs = shuffled_grid(20)
    assert list(itertools.chain.from_iterable(chunks_of(pairs, 8))) == pairs
