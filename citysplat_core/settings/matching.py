"""Settings of pairs: which are tried, which are believed."""

from typing import Annotated, Literal

from pydantic import Field

from citysplat_core.settings.base import StepSettings


class MatchingSettings(StepSettings):
    """Which pairs are tried and which are kept."""

    radius_m: float = Field(40.0, gt=0)
    """Largest distance of a spatial or fringe pair, metres."""
    max_neighbours: int = Field(24, ge=1)
    """Most spatial neighbours a photo asks for."""
    max_turn_deg: float = Field(110.0, gt=0, le=180)
    """Largest difference of two believed headings of a spatial or fringe pair, degrees."""
    min_overlap: float = Field(0.005, ge=0, le=1)
    """Least share of surface that both photos should see, as predicted from positions, headings and
    angles of view; 0 asks no view cone."""
    stationary_m: float = Field(0.3, ge=0)
    """Photos of one creator that look one way are no pair if they stand closer than this, metres;
    nor are photos of a camera that stands (neighbours of a sequence excepted). 0 asks neither."""
    max_time_gap_days: float | None = Field(None, gt=0)
    """Longest time between the captures of a spatial, fringe or retrieved pair; null asks none."""
    max_pairs_per_photo: float = Field(8.5, gt=0)
    """Budget: so many pairs times the number of photos are tried at first, the most useful ones."""
    exhaustive_fringe_pairs: int = Field(400, ge=0)
    """A fringe with at most this many pairs of two sides is compared exhaustively."""
    retrieval: Literal["none", "vlad"] = "none"
    """Global descriptors that find look-alike photos; ``vlad`` sums up the SIFT features and needs
    no weights. Its pairs come on top of the budget; where positions and headings are good they add
    little."""
    retrieval_k: int = Field(3, ge=1)
    """Look-alikes that a photo asks for, among those that distance and view cone allow."""
    retrieval_distance_m: float = Field(300.0, gt=0)
    """Largest distance of a retrieved pair, metres."""
    expansion_rounds: int = Field(2, ge=0)
    """Most rounds that propose (a, c) where (a, b) and (b, c) are verified; 0 expands nothing."""
    expansion_min_inliers: int = Field(30, ge=8)
    """Fewest inliers of a verified pair from which pairs are expanded."""
    expansion_distance_m: float = Field(60.0, gt=0)
    """Largest distance of an expanded pair, metres."""
    expansion_per_photo: float = Field(1.4, ge=0)
    """Budget of all rounds: so many pairs times the number of photos."""
    expansion_min_rate: float = Field(0.2, ge=0, le=1)
    """A round of which a smaller share is verified is the last."""
    expansion_min_new: int = Field(10, ge=1)
    """A round with fewer new pairs is not made."""
    sequence_steps: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 4, 8)
    """Steps along a sequence that make a pair, forwards."""
    matcher: Annotated[str, Field(pattern=r"^(auto|sift|lighterglue|hloc:.+)$")] = "auto"
    """Matcher: ``auto`` takes the one made for each kind of features that the photos have;
    ``sift`` or ``lighterglue`` that one only; ``hloc:NAME`` for features of hloc."""
    max_ratio: float = Field(0.8, gt=0, lt=1)
    """Lowe's ratio: best distance over second best."""
    min_inliers: int = Field(15, ge=8)
    """Fewest inliers of a verified pair."""
    min_inliers_across: int = Field(30, ge=8)
    """Fewest inliers of a pair of two sequences whose single matches cannot be tested."""
    min_agreeing_matches: int = Field(8, ge=4)
    """Fewest matches of a pair that both photos must put in one place on the map."""
    min_agreeing_share: float = Field(0.3, ge=0, le=1)
    """Smallest share of such matches among those of a pair that can be tested."""
    min_common_partners: int = Field(0, ge=0)
    """A pair with few such matches needs so many photos that have strong pairs with both; where the
    sketch does not place both its photos, 3 at the least."""
    max_verified_distance_m: float = Field(60.0, gt=0)
    """A verified pair whose GPS positions are farther apart is refused, metres."""
    max_heading_error_deg: float = Field(60.0, gt=0, le=180)
    """A pair that turns the camera otherwise than the two headings say is refused, degrees."""
    max_rotation_error_deg: float = Field(8.0, gt=0, le=180)
    """A pair that disagrees with the rotations of all others is refused, degrees."""
    max_direction_error_deg: float = Field(15.0, gt=0, le=180)
    """A pair whose baseline is this far from the GPS one is refused, degrees (GPS noise on top)."""
    gps_sigma_m: float = Field(4.0, gt=0)
    """Expected error of a GPS position against its neighbour's, metres."""
    seed: int = 0
    """Seed of every random draw."""
