"""Pairs of photos that see the same thing, inside boxes and across the fringes between them."""

from citysplat_core.matching.budget import Proposals
from citysplat_core.matching.expansion import expand_in_rounds, expand_pairs
from citysplat_core.matching.pairs import propose_sequence_pairs
from citysplat_core.matching.pairs_plan import propose_pairs
from citysplat_core.matching.retrieval import retrieve_pairs
from citysplat_core.matching.steps import match_box, match_fringe

__all__ = [
    "Proposals",
    "expand_in_rounds",
    "expand_pairs",
    "match_box",
    "match_fringe",
    "propose_pairs",
    "propose_sequence_pairs",
    "retrieve_pairs",
]
