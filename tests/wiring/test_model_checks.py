"""The gates of models, on numbers that an artifact could show."""

import json

import dagster as dg
import pytest

from citysplat_core.settings import CheckSettings
from citysplat_core.storage import Artifact
from citysplat_dagster.model_checks import (
    CITY_CHECKS,
    MODEL_CHECKS,
    alignment_checks,
    model_checks,
)

GOOD = {
    "n_images": 100,
    "n_home_registered": 95,
    "n_priors": 100,
    "n_priors_undefined": 0,
    "n_without_position": 0,
    "n_heights_missing": 3,
    "gps_residual_median_m": 1.5,
    "gps_residual_p90_m": 4.0,
    "gps_residual_up_median_m": 3.0,
    "extent_m": 390.0,
    "gps_extent_m": 400.0,
    "all_gps_extent_m": 420.0,
    "track_length_mean": 4.1,
    "angle_median_deg": 7.0,
    "flat_share": 0.1,
    "observations_per_photo": 400.0,
    "reproj_error_px": 0.4,
}
CITY = {
    "n_tied_fringes": 3,
    "seam_after_median_m": 0.02,
    "registered_share": 0.95,
    "extent_m": 390.0,
    "gps_extent_m": 400.0,
    "gps_residual_p90_m": 4.0,
}


@pytest.fixture
def artifact(tmp_path):
    def make(counts, skipped=""):
        manifest = {"counts": counts, "skipped": skipped}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        return Artifact("sparse_model", "030", tmp_path)

    return make


def verdicts(results):
    return {r.check_name: (r.passed, r.severity) for r in results}


def failed(artifact, **changes):
    counts = {k: v for k, v in (GOOD | changes).items() if v is not None}
    results = verdicts(model_checks(artifact(counts), CheckSettings()))
    return {name for name, (passed, _) in results.items() if not passed}


def test_a_good_model_passes_every_gate_that_is_declared(artifact):
    results = model_checks(artifact(GOOD), CheckSettings())
    assert tuple(r.check_name for r in results) == MODEL_CHECKS
    assert all(r.passed for r in results)


@pytest.mark.parametrize("name", ["n_priors_undefined", "n_without_position"])
def test_an_undefined_prior_fails(artifact, name):
    assert failed(artifact, **{name: 1}) == {"priors_valid"}


def test_a_model_smaller_than_a_room_fails_loudly_however_small_its_pixel_error(artifact):
    tiny = GOOD | {"extent_m": 3.0, "gps_extent_m": 3.1, "reproj_error_px": 0.05}
    results = {r.check_name: r for r in model_checks(artifact(tiny), CheckSettings())}
    gate = results["extent_matches_gps"]
    assert not gate.passed
    assert gate.severity == dg.AssetCheckSeverity.ERROR
    told = gate.metadata["SMALLER THAN A ROOM"].value
    assert told == "the model spans 3.0 m, its box 420 m by GPS"


def test_a_box_that_is_small_by_gps_may_have_a_small_model(artifact):
    small = {"extent_m": 8.0, "gps_extent_m": 8.1, "all_gps_extent_m": 9.0}
    assert failed(artifact, **small) == set()


@pytest.mark.parametrize("extent_m", [200.0, 800.0])
def test_a_model_of_another_size_than_its_gps_fails(artifact, extent_m):
    assert failed(artifact, extent_m=extent_m) == {"extent_matches_gps"}


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"n_home_registered": 40}, "registered_share"),
        ({"gps_residual_median_m": 7.0}, "agrees_with_gps"),
        ({"gps_residual_p90_m": 15.0}, "places_spread_little"),
        ({"gps_residual_up_median_m": 30.0}, "places_spread_little"),
        ({"track_length_mean": 2.0}, "points_well_seen"),
        ({"angle_median_deg": 0.7}, "points_well_seen"),
        ({"flat_share": 0.8}, "points_well_seen"),
        ({"extent_m": None}, "extent_matches_gps"),
        ({"flat_share": None}, "points_well_seen"),
    ],
)
def test_each_gate_looks_at_its_own_numbers_and_a_missing_one_fails(artifact, changes, check):
    assert failed(artifact, **changes) == {check}


def test_unknown_altitudes_are_not_judged(artifact):
    assert failed(artifact, gps_residual_up_median_m=None) == set()


def test_thresholds_are_settings(artifact):
    strict = CheckSettings(min_extent_ratio=0.99, min_angle_deg=8.0)
    results = verdicts(model_checks(artifact(GOOD), strict))
    assert {n for n, (passed, _) in results.items() if not passed} == {
        "extent_matches_gps",
        "points_well_seen",
    }


def test_a_skipped_model_fails_with_its_reason_as_a_warning(artifact):
    results = model_checks(artifact({}, "2 photos"), CheckSettings())
    assert not any(r.passed for r in results)
    assert {r.severity for r in results} == {dg.AssetCheckSeverity.WARN}
    assert results[0].metadata["skipped"].value == "2 photos"


def test_a_city_is_judged_by_seams_share_and_size(artifact):
    results = alignment_checks(artifact(CITY), CheckSettings())
    assert tuple(r.check_name for r in results) == CITY_CHECKS
    assert all(r.passed for r in results)
    for changes in ({"registered_share": 0.2}, {"extent_m": 10.0}, {"gps_residual_p90_m": 40.0}):
        found = verdicts(alignment_checks(artifact(CITY | changes), CheckSettings()))
        assert (found["fringes_agree"][0], found["city_stands"][0]) == (True, False)
