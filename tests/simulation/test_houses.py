import numpy as np

from citysplat_core.simulation import TownSettings, build_town
from citysplat_core.simulation.houses import block_lots, block_solids
from citysplat_core.simulation.solids import SolidKind


def _houses(share):
    lots = block_lots(np.random.default_rng(0), 0.0, 0.0, 60.0, 60.0)
    solids = block_solids(np.random.default_rng(1), lots, lookalike_share=share)
    return lots, [s for s in solids if s.kind == SolidKind.HOUSE]


def test_lookalikes_are_exact_copies_of_at_most_three_twins():
    _, houses = _houses(1.0)
    styles = {house.house for house in houses}
    assert len(styles) <= 3 < len(houses)


def test_without_lookalikes_every_house_is_its_own():
    lots, houses = _houses(0.0)
    assert len({house.house for house in houses}) == len(houses) == len(lots)


def test_houses_do_not_overlap():
    _, houses = _houses(0.0)
    for a in houses:
        for b in houses:
            if a is not b:
                apart = [
                    a.low[k] >= b.high[k] - 1e-9 or b.low[k] >= a.high[k] - 1e-9 for k in (0, 1)
                ]
                assert any(apart)


def test_every_box_is_in_the_cells_that_it_touches():
    solids = build_town(TownSettings(n_photos=40)).solids
    assert set(solids.items.tolist()) == set(range(len(solids.boxes)))
    assert solids.cells[-1] == len(solids.items)
