import numpy as np
import pytest

from citysplat_core.matching.rotations import (
    average_rotations,
    components_of,
    direction_errors_deg,
    rotation_errors_deg,
)


def test_averaged_rotations_agree_with_the_pairs_they_came_from(town):
    edges = town.edges(town.true_rows(), noise_deg=0.5)
    groups = components_of(edges.rows, len(town.photos))
    assert sum(len(group) for group in groups) == len(edges)
    mask = np.zeros(len(edges), dtype=bool)
    mask[groups[0]] = True
    part = edges.select(mask)
    world = average_rotations(part, seed=0)
    assert rotation_errors_deg(part, world).max() < 4
    angles, baseline_m = direction_errors_deg(town.position, part, world, sigma_m=4.0, seed=0)
    assert np.nanmax(angles) < 15
    assert np.isnan(angles[baseline_m <= 4.0]).all()


@pytest.mark.parametrize("count", [1, 2])
def test_few_pairs_are_no_component(count):
    assert components_of(np.array([[0, 1], [1, 2]])[:count], 3) == []
