import dataclasses

import numpy as np
import pytest

from citysplat_core.errors import MatchingError
from citysplat_core.matching.budget import Candidates, unite
from citysplat_core.matching.pairs_plan import propose_pairs
from citysplat_core.settings import MatchingSettings


def as_set(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(int(first), int(second)) for first, second in pairs}


def test_the_town_is_proposed_at_a_small_share_of_all_pairs(town):
    settings = MatchingSettings()
    proposals = propose_pairs(town.photos, settings, town.photos.heading_deg)
    assert len(proposals) <= settings.max_pairs_per_photo * len(town.photos)
    wanted = as_set(town.true_rows())
    near = {(a, b) for a, b in wanted if np.linalg.norm(town.position[a] - town.position[b]) < 11.0}
    assert len(near & as_set(proposals.pairs)) > 0.97 * len(near)
    assert proposals.refused["heading"] > 0


def test_neighbours_of_a_sequence_are_pairs_wherever_compass_and_gps_put_them(town):
    rng = np.random.default_rng(0)
    lost = dataclasses.replace(town.photos, east_north_m=rng.uniform(0, 5000, (160, 2)))
    proposals = propose_pairs(lost, MatchingSettings(), np.arange(160) * 97.0 % 360)
    along = {(a, a + 1) for a in range(159) if a % 20 != 19}
    assert along <= as_set(proposals.pairs)
    assert along <= as_set(proposals.of("sequence"))


def test_a_small_budget_keeps_sequence_neighbours_and_the_largest_overlaps(town):
    heading = town.photos.heading_deg
    much = propose_pairs(town.photos, MatchingSettings(max_pairs_per_photo=20), heading)
    little = propose_pairs(town.photos, MatchingSettings(max_pairs_per_photo=4), heading)
    assert len(little) == 640
    assert little.refused["over budget"] == len(much) - 640
    assert as_set(little.pairs) < as_set(much.pairs)
    assert little.overlap.mean() > much.overlap.mean()
    assert {(a, a + 1) for a in range(159) if a % 20 != 19} <= as_set(little.pairs)


def test_a_pair_names_all_its_sources(town):
    proposals = propose_pairs(
        town.photos,
        MatchingSettings(),
        town.photos.heading_deg,
        retrieved=np.array([[0, 1]], dtype=np.int32),
    )
    assert proposals.source_names()[0] == "retrieval|sequence|spatial"
    assert set(proposals.source_names()) > {"sequence|spatial", "spatial"}


def test_look_alikes_enter_across_a_valley_only_if_they_face_one_slope(town):
    place = np.zeros((160, 2)) + np.arange(160)[:, None] * 1000.0
    place[1] = [90.0, 0.0]
    place[2] = [95.0, 0.0]
    heading = np.zeros(160)
    heading[2] = 180.0
    apart = dataclasses.replace(
        town.photos, east_north_m=place, sequence=np.full(160, -1, dtype=np.int64)
    )
    alike = np.array([[0, 1], [0, 2], [0, 3]], dtype=np.int32)
    proposals = propose_pairs(apart, MatchingSettings(), heading, retrieved=alike)
    assert as_set(proposals.pairs) == {(0, 1)}
    assert proposals.source_names() == ["retrieval"]
    assert proposals.refused["distance"] == 1


def test_a_small_fringe_is_compared_exhaustively_whichever_way_photos_look(town):
    rows = np.r_[0:10, 20:30]
    photos = dataclasses.replace(town.photos.select(rows), side=np.repeat([0, 1], 10))
    everything = propose_pairs(photos, MatchingSettings(), photos.heading_deg, across=True)
    assert everything.refused == {"distance": 100 - len(everything)}
    few = MatchingSettings(exhaustive_fringe_pairs=99)
    geometric = propose_pairs(photos, few, photos.heading_deg, across=True)
    assert len(geometric) < len(everything) > 50
    sides = photos.side[everything.pairs]
    assert (sides[:, 0] != sides[:, 1]).all()


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_photos_give_no_pairs(town, count):
    photos = town.photos.select(np.arange(count))
    assert len(propose_pairs(photos, MatchingSettings(), photos.heading_deg)) == 0


def test_a_position_that_is_not_finite_is_refused(town):
    place = town.photos.east_north_m.copy()
    place[1, 0] = np.nan
    photos = dataclasses.replace(town.photos, east_north_m=place)
    with pytest.raises(MatchingError, match=r"1 of 160 positions are not finite \(rows \[1\]\)"):
        propose_pairs(photos, MatchingSettings(), photos.heading_deg)


def test_united_pairs_are_unique_sorted_and_of_the_largest_worth():
    pairs = np.array([[0, 1], [2, 3], [1, 2]], dtype=np.int32)
    share = np.array([0.1, 0.5, 0.3], dtype=np.float32)
    one = Candidates(source="spatial", pairs=pairs, overlap=share, worth=share)
    other = Candidates(source="expansion", pairs=pairs[:1], overlap=share[:1], worth=share[:1] + 1)
    proposals = unite([one, other], 5, budget=2, refused={"heading": 4})
    assert proposals.pairs.tolist() == [[0, 1], [2, 3]]
    assert proposals.source_names() == ["expansion|spatial", "spatial"]
    assert proposals.refused == {"heading": 4, "over budget": 1}
