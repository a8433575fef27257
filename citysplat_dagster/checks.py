"""Quality gates: what a finished artifact must show before it is believed.

The numbers come from the artifact's own counts; a gate whose number is missing fails, it is never
passed for want of evidence. An artifact that was skipped for a stated reason fails its gate with
that reason, as a warning: the box is known to be empty-handed and nothing hangs on it.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from citysplat_core.storage import Artifact
from citysplat_dagster.coverage import coverage_metadata

MIN_PHOTO_SHARE = 0.5
MIN_REGISTERED_SHARE = 0.5
MAX_GPS_RESIDUAL_M = 6.0
MAX_SEAM_M = 0.5
MIN_PSNR_DB = 18.0

Checks = list[dg.AssetCheckResult]


def coverage_checks(made: Artifact) -> Checks:
    """Refuse a ledger with tiles that failed or were never read; shows the map of the tiles."""
    numbers = _numbers(made, "tiles_failed", "tiles_unknown", "images_found")
    stopped = {"stopped": made.counts["stopped"]} if "stopped" in made.counts else {}
    return [
        _check(
            made,
            "coverage_complete",
            passed=numbers["tiles_failed"] + numbers["tiles_unknown"] == 0,
            numbers=numbers,
            expected="no failed and no unknown tile; run again to ask only those",
            more={**stopped, **coverage_metadata(made)},
        )
    ]


def catalog_checks(made: Artifact) -> Checks:
    """Refuse a catalog in which no photo can be placed."""
    numbers = _numbers(made, "listed", "gone", "failed")
    return [
        _check(
            made,
            "positions_valid",
            passed=numbers["listed"] > 0,
            numbers=numbers,
            expected="at least one photo with a position",
        )
    ]


def photo_checks(made: Artifact) -> Checks:
    """Ask that at least half of the photos that are needed can be used, and that none failed."""
    numbers = _numbers(made, "images", "ok", "superfluous", "rejected", "gone")
    needed = numbers["images"] - numbers["superfluous"]
    failed = _numbers(made, "failed", "failed_to_retry")
    return [
        _check(
            made,
            "photos_usable",
            passed=numbers["images"] > 0 and numbers["ok"] >= MIN_PHOTO_SHARE * needed,
            numbers=numbers,
            expected=f"a share of {MIN_PHOTO_SHARE} of the photos that no other photo replaces",
        ),
        dg.AssetCheckResult(
            check_name="photos_fetched",
            passed=failed["failed"] == 0,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={**failed, "expected": "no failed photo; the next run asks for those again"},
        ),
    ]


def pair_checks(made: Artifact) -> Checks:
    """Ask that some pair was verified."""
    numbers = _numbers(made, "pairs_proposed", "pairs_matched", "pairs_verified")
    return [
        _check(
            made,
            "pairs_verified",
            passed=numbers["pairs_verified"] > 0,
            numbers=numbers,
            expected="at least one verified pair",
        )
    ]


def model_checks(made: Artifact) -> Checks:
    """Ask for enough registered photos, and for a model that lies where GPS says."""
    share = _numbers(made, "n_images", "n_home_registered")
    gps = _numbers(made, "gps_residual_median_m")
    return [
        _check(
            made,
            "registered_share",
            passed=share["n_images"] > 0
            and share["n_home_registered"] >= MIN_REGISTERED_SHARE * share["n_images"],
            numbers=share,
            expected=f"a share of {MIN_REGISTERED_SHARE} of the box's own photos",
        ),
        _check(
            made,
            "agrees_with_gps",
            passed=gps["gps_residual_median_m"] <= MAX_GPS_RESIDUAL_M,
            numbers=gps,
            expected=f"at most {MAX_GPS_RESIDUAL_M} m; photos that do not fit are in the report",
        ),
    ]


def alignment_checks(made: Artifact) -> Checks:
    """Ask that shared photos stand in one place."""
    numbers = _numbers(made, "n_tied_fringes", "seam_after_median_m")
    return [
        _check(
            made,
            "fringes_agree",
            passed=numbers["n_tied_fringes"] == 0 or numbers["seam_after_median_m"] <= MAX_SEAM_M,
            numbers=numbers,
            expected=f"a median of at most {MAX_SEAM_M} m over shared photos",
        )
    ]


def splat_checks(made: Artifact) -> Checks:
    """Ask for views that the training never saw to look right."""
    numbers = _numbers(made, "psnr_db")
    return [
        _check(
            made,
            "held_out_views",
            passed=numbers["psnr_db"] >= MIN_PSNR_DB,
            numbers=numbers,
            expected=f"a median of at least {MIN_PSNR_DB} dB",
        )
    ]


def _numbers(made: Artifact, *names: str) -> dict[str, float]:
    """Take numbers from the counts; a missing one is NaN, with which every comparison fails."""
    return {name: float(made.counts.get(name, "nan")) for name in names}


def _check(
    made: Artifact,
    name: str,
    *,
    passed: bool,
    numbers: dict[str, float],
    expected: str,
    more: Mapping[str, Any] | None = None,
) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.WARN if made.skipped else dg.AssetCheckSeverity.ERROR
    reason = {"skipped": made.skipped} if made.skipped else {}
    return dg.AssetCheckResult(
        check_name=name,
        passed=passed and not made.skipped,
        severity=severity,
        metadata={**numbers, **reason, "expected": expected, **(more or {})},
    )
