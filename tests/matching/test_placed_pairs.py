from dataclasses import replace

import numpy as np
import pytest

from citysplat_core.matching.budget import Proposals, keys_of, nothing
from citysplat_core.matching.evidence import Evidence, weigh_matches
from citysplat_core.matching.pairs_plan import propose_pairs
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.placed_pairs import propose_from_places
from citysplat_core.settings import MatchingSettings
from tests.matching.look_alikes import Case, drive_rows, make_case

SETTINGS = MatchingSettings()


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(drive_rows())


@pytest.fixture(scope="module")
def evidence(case) -> Evidence:
    return weigh_matches(
        case.rows.photos, case.graph.edges, case.graph.inliers, gps_sigma_m=4.0, max_distance_m=60.0
    )


def jumping(case: Case, evidence: Evidence, sigma_m: float) -> tuple[Photos, Evidence]:
    """Photos whose GPS jumps, and matches that say where they truly are."""
    noise = np.random.default_rng(2).normal(0, sigma_m, (len(case.rows.photos), 2))
    photos = replace(case.rows.photos, east_north_m=case.rows.position_m + noise)
    yaws = replace(evidence.yaws, heading_deg=case.rows.heading_deg)
    return photos, replace(evidence, correction_m=-noise, yaws=yaws)


def keys(proposals: Proposals, case: Case) -> set[int]:
    return set(keys_of(proposals.pairs, len(case.rows.photos)).tolist())


def test_where_gps_jumps_the_pairs_of_the_true_places_are_proposed(case, evidence):
    photos, knowing = jumping(case, evidence, 4.0)
    first = propose_pairs(photos, SETTINGS, case.rows.heading_deg)
    true = replace(photos, east_north_m=case.rows.position_m)
    wanted = keys(propose_pairs(true, SETTINGS, case.rows.heading_deg), case)
    new = propose_from_places(photos, knowing, first, SETTINGS)
    assert len(new)
    assert not keys(new, case) & keys(first, case)
    assert keys(new, case) <= wanted
    missed = wanted - keys(first, case)
    assert len(new) == min(len(missed), 2 * len(photos))
    assert set(new.source_names()) == {"spatial"}


def test_where_gps_is_good_from_photo_to_photo_nothing_is_asked_again(case, evidence):
    photos, knowing = jumping(case, evidence, 0.3)
    assert not len(propose_from_places(photos, knowing, nothing(), SETTINGS))


def test_there_are_at_most_two_a_photo(case, evidence):
    photos, knowing = jumping(case, evidence, 4.0)
    new = propose_from_places(photos, knowing, nothing(), SETTINGS)
    assert len(new) == 2 * len(photos)


def test_photos_without_sequences_are_left_alone(case, evidence):
    photos, knowing = jumping(case, evidence, 4.0)
    alone = replace(photos, sequence=np.full(len(photos), -1))
    assert not len(propose_from_places(alone, knowing, nothing(), SETTINGS))
