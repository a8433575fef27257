"""Gates of sparse models and of the aligned city: size and place first, pixels never.

A model of the size of a room can have the best pixel error of the city. So a gate here asks how
large the model is beside its GPS, how far its photos stand from where they were taken, and how well
its points are seen; the pixel error is told and judges nothing.
"""

from citysplat_core.mapping.seams import APART_M
from citysplat_core.settings import CheckSettings
from citysplat_core.storage import Artifact
from citysplat_dagster.checks import Checks, gate, numbers_of

MIN_REGISTERED_SHARE = 0.5
MAX_GPS_RESIDUAL_M = 6.0

MODEL_CHECKS = (
    "priors_valid",
    "registered_share",
    "extent_matches_gps",
    "agrees_with_gps",
    "places_spread_little",
    "points_well_seen",
)
CITY_CHECKS = ("fringes_agree", "city_stands")

_ROOMS = 3


def model_checks(made: Artifact, limits: CheckSettings) -> Checks:
    """Judge a box's model: priors, share, size, place, points."""
    share = numbers_of(made, "n_images", "n_home_registered")
    gps = numbers_of(made, "gps_residual_median_m")
    return [
        *_prior_checks(made),
        gate(
            made,
            "registered_share",
            passed=share["n_images"] > 0
            and share["n_home_registered"] >= MIN_REGISTERED_SHARE * share["n_images"],
            numbers=share,
            expected=f"a share of {MIN_REGISTERED_SHARE} of the box's own photos",
        ),
        *_extent_checks(made, limits),
        gate(
            made,
            "agrees_with_gps",
            passed=gps["gps_residual_median_m"] <= MAX_GPS_RESIDUAL_M,
            numbers=gps,
            expected=f"at most {MAX_GPS_RESIDUAL_M} m; photos that do not fit are in the report",
        ),
        *_spread_checks(made, limits),
        *_point_checks(made, limits),
    ]


def _prior_checks(made: Artifact) -> Checks:
    """Refuse priors that are NaN or undefined, and photos without any."""
    numbers = numbers_of(made, "n_priors", "n_priors_undefined", "n_without_position")
    told = numbers_of(made, "n_heights_missing")
    return [
        gate(
            made,
            "priors_valid",
            passed=numbers["n_priors"] > 0
            and numbers["n_priors_undefined"] + numbers["n_without_position"] == 0,
            numbers=numbers,
            expected="a finite position and covariance in the city frame for every photo",
            more={"altitudes taken over from other photos": told["n_heights_missing"]},
        )
    ]


def _extent_checks(made: Artifact, limits: CheckSettings) -> Checks:
    numbers = numbers_of(made, "extent_m", "gps_extent_m", "all_gps_extent_m")
    solved, given = numbers["extent_m"], numbers["gps_extent_m"]
    ratio = solved / given if given > 0 else float("nan")
    least = limits.min_extent_ratio
    is_room = solved < limits.min_extent_m and numbers["all_gps_extent_m"] > _ROOMS * max(
        solved, limits.min_extent_m
    )
    smaller = f"the model spans {solved:.1f} m, its box {numbers['all_gps_extent_m']:.0f} m by GPS"
    return [
        gate(
            made,
            "extent_matches_gps",
            passed=least <= ratio <= 1 / least and not is_room,
            numbers=numbers | {"extent_ratio": ratio},
            expected=f"a ratio of {least} to {1 / least:.2f}, and more than a room",
            more={"SMALLER THAN A ROOM": smaller} if is_room else None,
        )
    ]


def _spread_checks(made: Artifact, limits: CheckSettings) -> Checks:
    numbers = numbers_of(made, "gps_residual_p90_m")
    high = "gps_residual_up_median_m" in made.counts
    up = numbers_of(made, "gps_residual_up_median_m", "gps_residual_up_p90_m") if high else {}
    return [
        gate(
            made,
            "places_spread_little",
            passed=numbers["gps_residual_p90_m"] <= limits.max_gps_residual_p90_m
            and (not high or up["gps_residual_up_median_m"] <= limits.max_gps_residual_up_m),
            numbers=numbers | up,
            expected=f"{limits.max_gps_residual_p90_m} m for nine photos of ten, "
            f"{limits.max_gps_residual_up_m} m from measured altitudes in the median",
            is_warning=True,
        )
    ]


def _point_checks(made: Artifact, limits: CheckSettings) -> Checks:
    names = ("track_length_mean", "angle_median_deg", "flat_share", "observations_per_photo")
    numbers = numbers_of(made, *names)
    return [
        gate(
            made,
            "points_well_seen",
            passed=numbers["track_length_mean"] >= limits.min_track_length
            and numbers["angle_median_deg"] >= limits.min_angle_deg
            and numbers["flat_share"] <= limits.max_flat_share,
            numbers=numbers,
            expected=f"{limits.min_track_length} photos a point, {limits.min_angle_deg} degrees, "
            f"at most {limits.max_flat_share:.0%} flat points",
            is_warning=True,
        )
    ]


def alignment_checks(made: Artifact, limits: CheckSettings) -> Checks:
    """Ask that shared photos stand in one place, and the city in its own."""
    numbers = numbers_of(made, "n_tied_fringes", "seam_after_median_m")
    city = numbers_of(made, "registered_share", "extent_m", "gps_extent_m", "gps_residual_p90_m")
    ratio = city["extent_m"] / city["gps_extent_m"] if city["gps_extent_m"] > 0 else float("nan")
    least = limits.min_extent_ratio
    return [
        gate(
            made,
            "fringes_agree",
            passed=numbers["n_tied_fringes"] == 0 or numbers["seam_after_median_m"] <= APART_M,
            numbers=numbers,
            expected=f"a median of at most {APART_M} m over shared photos",
        ),
        gate(
            made,
            "city_stands",
            passed=city["registered_share"] >= limits.min_city_share
            and least <= ratio <= 1 / least
            and city["gps_residual_p90_m"] <= limits.max_gps_residual_p90_m,
            numbers=city | {"extent_ratio": ratio},
            expected=f"a share of {limits.min_city_share} of the planned photos, an extent ratio "
            f"of {least} to {1 / least:.2f}, {limits.max_gps_residual_p90_m} m for nine of ten",
            is_warning=True,
        ),
    ]
