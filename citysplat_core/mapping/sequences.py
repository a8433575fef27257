"""The photos of each sequence in the order in which they were taken."""

from collections.abc import Mapping, Sequence

import pandas as pd

Sequences = Sequence[Sequence[int]]
"""Colmap ids of each sequence, in order."""


def order_sequences(images: pd.DataFrame) -> list[list[int]]:
    """Give the photos of every sequence in their order.

    Args:
        images: Columns colmap_id, sequence_id and captured_at (null where unknown).

    Returns:
        Colmap ids, a list a sequence; a photo without a sequence or a time is in none.
    """
    if not {"sequence_id", "captured_at"} <= set(images.columns):
        return []
    known = images[images["captured_at"].notna() & images["sequence_id"].notna()]
    ordered = known.sort_values(["sequence_id", "captured_at", "colmap_id"], kind="stable")
    groups = ordered.groupby("sequence_id", sort=True)["colmap_id"]
    return [ids.tolist() for name, ids in groups if str(name)]


def find_beside(sequences: Sequences, reach: int = 2) -> Mapping[int, list[int]]:
    """List for every photo of a sequence the photos up to ``reach`` places before and after it.

    A sequence of one photo tells nothing: its photo is not listed.
    """
    return {
        image_id: [*ids[max(0, place - reach) : place], *ids[place + 1 : place + 1 + reach]]
        for ids in sequences
        if len(ids) > 1
        for place, image_id in enumerate(ids)
    }
