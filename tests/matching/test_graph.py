import numpy as np
import pytest

from citysplat_core.matching.graph import graph_of


def graph(n, *pairs):
    return graph_of(n, np.array(pairs, dtype=np.int64).reshape(-1, 2))


def test_components_are_numbered_by_falling_size():
    found = graph(7, (5, 6), (0, 3), (3, 4))
    assert found.sizes.tolist() == [3, 2, 1, 1]
    assert found.component[[0, 3, 4]].tolist() == [0, 0, 0]
    assert found.component[[5, 6]].tolist() == [1, 1]
    assert found.is_alone.tolist() == [False, True, True, False, False, False, False]


def test_the_one_pair_between_two_blocks_is_a_bridge_and_the_strongest():
    left, right = [(0, 1), (1, 2), (0, 2)], [(3, 4), (4, 5), (5, 6), (3, 6)]
    found = graph(8, (6, 7), *left, (2, 3), *right)
    assert found.bridges.tolist() == [4, 0]
    assert found.joined.tolist() == [[3, 5], [1, 7]]


def test_a_ring_has_no_bridge_and_a_chain_longer_than_the_stack_only_bridges():
    n = 5000
    chain = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)
    found = graph_of(n, chain)
    assert len(found.bridges) == n - 1
    assert found.joined[0].tolist() == [n // 2, n // 2]
    assert len(graph_of(n, np.vstack([chain, [[0, n - 1]]])).bridges) == 0


@pytest.mark.parametrize("n", [0, 1, 3])
def test_photos_without_any_pair_stand_alone(n):
    found = graph(n)
    assert found.sizes.tolist() == [1] * n
    assert found.is_alone.all()
    assert not len(found.bridges)


@pytest.mark.parametrize("seed", range(8))
def test_bridges_are_the_pairs_whose_loss_gives_one_component_more(seed):
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.integers(0, 30, (34, 2)), axis=1)
    pairs = np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0)
    whole = graph_of(30, pairs)
    without = [graph_of(30, np.delete(pairs, row, axis=0)) for row in range(len(pairs))]
    lost = [row for row, left in enumerate(without) if len(left.sizes) > len(whole.sizes)]
    assert sorted(whole.bridges.tolist()) == lost
    for row, joined in zip(whole.bridges, whole.joined, strict=True):
        first, second = without[row].component[pairs[row]]
        assert sorted(without[row].sizes[[first, second]].tolist()) == joined.tolist()
