"""Pairs of photos that see the same thing, inside boxes and across the fringes between them."""

from citysplat_core.matching.pairs import (
    propose_fringe_pairs,
    propose_sequence_pairs,
    propose_spatial_pairs,
)
from citysplat_core.matching.steps import match_box, match_fringe

__all__ = [
    "match_box",
    "match_fringe",
    "propose_fringe_pairs",
    "propose_sequence_pairs",
    "propose_spatial_pairs",
]
