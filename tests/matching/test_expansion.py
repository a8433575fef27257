import numpy as np
import pytest

from citysplat_core.matching.budget import Proposals
from citysplat_core.matching.expansion import expand_in_rounds, expand_pairs
from citysplat_core.matching.pairs_plan import propose_pairs
from citysplat_core.settings import MatchingSettings

OPEN = {
    "max_turn_deg": 180.0, "min_overlap": 0.0, "expansion_distance_m": 1e6,
    "expansion_per_photo": 1e6, "expansion_rounds": 4,
}  # fmt: skip
FLOORS = {"expansion_min_new": 1, "expansion_min_rate": 0.2}


def span_m(town, pairs: np.ndarray) -> float:
    gap = town.photos.east_north_m[pairs[:, 0]] - town.photos.east_north_m[pairs[:, 1]]
    return float(np.hypot(*gap.T).max())


def everything_matches(pairs: Proposals) -> np.ndarray:
    """A town in which all houses look alike."""
    return np.full(len(pairs), 50)


def first_of(town):
    settings = MatchingSettings(max_pairs_per_photo=3)
    return propose_pairs(town.photos, settings, town.photos.heading_deg)


def test_without_gates_the_pairs_of_look_alikes_double_a_round_and_with_gates_they_do_not(town):
    heading, first = town.photos.heading_deg, first_of(town)
    grown = {}
    for name, options in (("open", OPEN), ("gated", {"expansion_rounds": 4})):
        settings = MatchingSettings(**FLOORS | options)
        grown[name] = expand_in_rounds(town.photos, heading, first, everything_matches, settings)
    count = len(town.photos)
    assert len(grown["open"]) > 0.9 * count * (count - 1) / 2
    sizes = np.bincount(grown["open"].round)
    assert sizes[1] > 2 * sizes[0] or sizes[2] > 2 * sizes[1]
    assert span_m(town, grown["open"].pairs) > 100.0
    gated = grown["gated"]
    assert 0 < (gated.round > 0).sum() <= MatchingSettings().expansion_per_photo * count
    assert span_m(town, gated.pairs[gated.round > 0]) <= 60.0
    assert gated.refused["expansion: view cone"] > 0


def test_one_round_proposes_the_third_side_of_a_triangle_once(town):
    verified = np.array([[20, 22], [22, 24]], dtype=np.int32)
    found = expand_pairs(
        town.photos, np.full(160, np.nan), verified, verified, MatchingSettings(), budget=9999
    )
    pairs = {tuple(pair) for pair in found.pairs.tolist()}
    assert (20, 24) in pairs
    assert (20, 22) not in pairs
    assert (20, 21) not in pairs  # neighbours of a sequence are tried anyway
    assert (0, 40) not in pairs
    assert set(found.source_names()) == {"expansion"}


def test_a_round_that_verifies_little_is_the_last(town):
    asked = []

    def only_first(pairs: Proposals) -> np.ndarray:
        asked.append(len(pairs))
        return np.where(np.arange(len(pairs)) % 10 == 0, 50, 0)

    settings = MatchingSettings(expansion_rounds=9, expansion_min_rate=0.5, expansion_min_new=1)
    heading = town.photos.heading_deg
    found = expand_in_rounds(town.photos, heading, first_of(town), only_first, settings)
    assert len(asked) == 2
    assert found.round.max() == 1


@pytest.mark.parametrize("options", [{"expansion_rounds": 0}, {"expansion_min_new": 10**6}])
def test_no_rounds_or_too_few_new_pairs_leave_the_proposals_as_they_are(town, options):
    first = first_of(town)
    settings = MatchingSettings(**options)
    heading = town.photos.heading_deg
    found = expand_in_rounds(town.photos, heading, first, everything_matches, settings)
    assert found is first


def test_pairs_spread_along_drives_across_a_border(town):
    photos = town.photos
    photos.side[20:40] = 1
    verified = np.array([[5, 35]], dtype=np.int32)
    found = expand_pairs(
        photos, np.full(160, np.nan), verified, verified, MatchingSettings(), budget=99, across=True
    )
    assert {tuple(pair) for pair in found.pairs.tolist()} >= {(4, 35), (6, 35), (5, 34), (5, 36)}
    assert (photos.side[found.pairs[:, 0]] != photos.side[found.pairs[:, 1]]).all()
