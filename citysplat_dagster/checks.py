"""Quality gates: what a finished artifact must show before it is believed.

The numbers come from the artifact's own counts; a gate whose number is missing fails, it is never
passed for want of evidence. An artifact that was skipped for a stated reason fails its gate with
that reason, as a warning: the box is known to be empty-handed and nothing hangs on it.
"""

from typing import Any

import dagster as dg

from citysplat_core.storage import Artifact

MIN_PHOTO_SHARE = 0.5
MIN_REGISTERED_SHARE = 0.5
MAX_GPS_RESIDUAL_M = 6.0
MAX_SEAM_M = 0.5
MIN_PSNR_DB = 18.0

Checks = list[dg.AssetCheckResult]


def coverage_checks(made: Artifact) -> Checks:
    """Refuse a ledger with tiles that failed or were never read."""
    counts = made.counts
    open_tiles = {s: int(counts[f"tiles_{s}"]) for s in ("failed", "unknown")}
    return [
        _check(
            made,
            "coverage_complete",
            passed=sum(open_tiles.values()) == 0,
            numbers={**open_tiles, "images_found": counts["images_found"]},
            expected="no failed and no unknown tile; run again to ask only those",
        )
    ]


def catalog_checks(made: Artifact) -> Checks:
    """Refuse a catalog in which no photo can be placed."""
    counts = made.counts
    return [
        _check(
            made,
            "positions_valid",
            passed=int(counts["listed"]) > 0,
            numbers={k: counts[k] for k in ("listed", "gone", "failed") if k in counts},
            expected="at least one photo with a position",
        )
    ]


def photo_checks(made: Artifact) -> Checks:
    """Ask that at least half of the box's photos can be used."""
    counts = made.counts
    total, good = int(counts["photos"]), int(counts["ok"])
    return [
        _check(
            made,
            "photos_usable",
            passed=total > 0 and good >= MIN_PHOTO_SHARE * total,
            numbers={"photos": total, "ok": good},
            expected=f"a share of {MIN_PHOTO_SHARE} of the photos",
        )
    ]


def pair_checks(made: Artifact) -> Checks:
    """Ask that some pair was verified."""
    counts = made.counts
    return [
        _check(
            made,
            "pairs_verified",
            passed=int(counts["pairs_verified"]) > 0,
            numbers={k: counts[k] for k in ("pairs_proposed", "pairs_matched", "pairs_verified")},
            expected="at least one verified pair",
        )
    ]


def model_checks(made: Artifact) -> Checks:
    """Ask for enough registered photos, and for a model that lies where GPS says."""
    counts = made.counts
    home, registered = int(counts["n_images"]), int(counts["n_home_registered"])
    residual = float(counts.get("gps_residual_median_m", "nan"))
    return [
        _check(
            made,
            "registered_share",
            passed=home > 0 and registered >= MIN_REGISTERED_SHARE * home,
            numbers={"n_images": home, "n_home_registered": registered},
            expected=f"a share of {MIN_REGISTERED_SHARE} of the box's own photos",
        ),
        _check(
            made,
            "agrees_with_gps",
            passed=residual <= MAX_GPS_RESIDUAL_M,  # NaN fails
            numbers={"gps_residual_median_m": residual},
            expected=f"at most {MAX_GPS_RESIDUAL_M} m; photos that do not fit are in the report",
        ),
    ]


def alignment_checks(made: Artifact) -> Checks:
    """Ask that shared photos stand in one place."""
    counts = made.counts
    after = float(counts.get("seam_after_median_m", "nan"))
    tied = int(counts["n_tied_fringes"])
    return [
        _check(
            made,
            "fringes_agree",
            passed=tied == 0 or after <= MAX_SEAM_M,
            numbers={"n_tied_fringes": tied, "seam_after_median_m": after},
            expected=f"a median of at most {MAX_SEAM_M} m over shared photos",
        )
    ]


def splat_checks(made: Artifact) -> Checks:
    """Ask for views that the training never saw to look right."""
    psnr = float(made.counts.get("psnr_db", "nan"))
    return [
        _check(
            made,
            "held_out_views",
            passed=psnr >= MIN_PSNR_DB,  # NaN fails
            numbers={"psnr_db": psnr},
            expected=f"a median of at least {MIN_PSNR_DB} dB",
        )
    ]


def _check(
    made: Artifact, name: str, *, passed: bool, numbers: dict[str, Any], expected: str
) -> dg.AssetCheckResult:
    severity = dg.AssetCheckSeverity.WARN if made.skipped else dg.AssetCheckSeverity.ERROR
    reason = {"skipped": made.skipped} if made.skipped else {}
    return dg.AssetCheckResult(
        check_name=name,
        passed=passed and not made.skipped,
        severity=severity,
        metadata={**numbers, **reason, "expected": expected},
    )
