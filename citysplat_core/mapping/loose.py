"""Photos of neighbouring boxes that hardly see what a box's own photos see.

They stand in a model for one thing: to say where the neighbour's model lies. A photo that shares no
point with the box's own photos hangs on other photos of the neighbour alone; it bends with them,
and what it says of the neighbour is wrong by metres.
"""

from collections.abc import Collection

import pycolmap

from citysplat_core.mapping.vouching import points_of


def find_loose(
    model: pycolmap.Reconstruction, home_ids: Collection[int], *, min_shared: int
) -> set[int]:
    """Find the neighbours' photos that a model should not keep.

    Args:
        model: Of a box and the fringe photos of its neighbours.
        home_ids: Photos of the box itself.
        min_shared: A neighbour's photo that sees fewer points together with photos of the box is
            loose; 0: none is.

    Returns:
        Their colmap ids; none if the model holds no photo of the box.
    """
    here = set(model.reg_image_ids())
    home = here & set(home_ids)
    seen_at_home = set().union(*(points_of(model, i) for i in sorted(home)))
    if not home:
        return set()
    return {i for i in here - home if len(points_of(model, i) & seen_at_home) < min_shared}
