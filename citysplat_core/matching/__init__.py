"""Pairs of photos that see the same thing, inside boxes and across the fringes between them."""

from citysplat_core.matching.budget import Proposals
from citysplat_core.matching.database_photos import photos_of_database
from citysplat_core.matching.expansion import expand_in_rounds, expand_pairs
from citysplat_core.matching.gates import judge_pairs
from citysplat_core.matching.headings import compass_that_follows_motion
from citysplat_core.matching.pairs import propose_sequence_pairs
from citysplat_core.matching.pairs_plan import propose_pairs
from citysplat_core.matching.photos import Photos, read_photos
from citysplat_core.matching.retrieval import retrieve_pairs
from citysplat_core.matching.steps import match_box, match_fringe
from citysplat_core.matching.verification import verify_pairs
from citysplat_core.matching.verify import match_pairs, read_edges

__all__ = [
    "Photos",
    "Proposals",
    "compass_that_follows_motion",
    "expand_in_rounds",
    "expand_pairs",
    "judge_pairs",
    "match_box",
    "match_fringe",
    "match_pairs",
    "photos_of_database",
    "propose_pairs",
    "propose_sequence_pairs",
    "read_edges",
    "read_photos",
    "retrieve_pairs",
    "verify_pairs",
]
