"""Which artifacts may have results of a box or fringe: its own, or those of larger boxes."""

from collections.abc import Iterator
from itertools import product

_COARSEST = 14
"""Zoom of the coarsest box, as `BoxSettings` allows."""


def forebears(asset: str, partition: str) -> Iterator[tuple[str, str]]:
    """Name the artifacts to look for, the nearest first.

    When a box has too many photos it is cut into four. What was solved for it holds for the parts,
    and what was compared inside it for the fringes between them.

    Args:
        asset: ``fringe_matches``, or an asset of boxes.
        partition: Key of the fringe or box.

    Yields:
        Asset and partition: its own, then those of the boxes that contain it.
    """
    sides = partition.split("--")
    of_sides = [[side[:n] for n in range(len(side), _COARSEST - 1, -1)] for side in sides]
    if len(sides) == 1:
        yield asset, partition
        yield from ((asset, key) for key in of_sides[0][1:])
        return
    for first, second in product(*of_sides):
        if not second.startswith(first) and not first.startswith(second):
            yield asset, "--".join(sorted((first, second)))
    yield from (("box_matches", key) for key in of_sides[0] if sides[1].startswith(key))
