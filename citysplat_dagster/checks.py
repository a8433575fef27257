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
MIN_PSNR_DB = 18.0

Checks = list[dg.AssetCheckResult]


def coverage_checks(made: Artifact) -> Checks:
    """Refuse a ledger with tiles that failed or were never read; shows the map of the tiles."""
    numbers = numbers_of(made, "tiles_failed", "tiles_unknown", "images_found")
    stopped = {"stopped": made.counts["stopped"]} if "stopped" in made.counts else {}
    return [
        gate(
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
    numbers = numbers_of(made, "listed", "gone", "failed")
    return [
        gate(
            made,
            "positions_valid",
            passed=numbers["listed"] > 0,
            numbers=numbers,
            expected="at least one photo with a position",
        )
    ]


def photo_checks(made: Artifact) -> Checks:
    """Ask that at least half of the photos that are needed can be used, and that none failed."""
    numbers = numbers_of(made, "images", "ok", "superfluous", "rejected", "gone")
    needed = numbers["images"] - numbers["superfluous"]
    failed = numbers_of(made, "failed", "failed_to_retry")
    return [
        gate(
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
    numbers = numbers_of(made, "pairs_proposed", "pairs_matched", "pairs_verified")
    return [
        gate(
            made,
            "pairs_verified",
            passed=numbers["pairs_verified"] > 0,
            numbers=numbers,
            expected="at least one verified pair",
        )
    ]


def splat_checks(made: Artifact) -> Checks:
    """Ask for views that the training never saw to look right."""
    numbers = numbers_of(made, "psnr_db")
    return [
        gate(
            made,
            "held_out_views",
            passed=numbers["psnr_db"] >= MIN_PSNR_DB,
            numbers=numbers,
            expected=f"a median of at least {MIN_PSNR_DB} dB",
        )
    ]


def numbers_of(made: Artifact, *names: str) -> dict[str, float]:
    """Take numbers from the counts; a missing one is NaN, with which every comparison fails."""
    return {name: float(made.counts.get(name, "nan")) for name in names}


def gate(
    made: Artifact,
    name: str,
    *,
    passed: bool,
    numbers: dict[str, float],
    expected: str,
    more: Mapping[str, Any] | None = None,
    is_warning: bool = False,
) -> dg.AssetCheckResult:
    """Give a gate's result; a skipped artifact fails it with its reason, as a warning.

    Args:
        made: The artifact.
        name: Of the check.
        passed: Whether the numbers are good.
        numbers: What was looked at.
        expected: What would have been good, for the reader.
        more: Further metadata.
        is_warning: A failure is worth a look and stops nothing.
    """
    is_mild = is_warning or bool(made.skipped)
    severity = dg.AssetCheckSeverity.WARN if is_mild else dg.AssetCheckSeverity.ERROR
    reason = {"skipped": made.skipped} if made.skipped else {}
    return dg.AssetCheckResult(
        check_name=name,
        passed=passed and not made.skipped,
        severity=severity,
        metadata={**numbers, **reason, "expected": expected, **(more or {})},
    )
