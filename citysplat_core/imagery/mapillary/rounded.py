"""Repairing image ids that a tile carried as floating-point numbers."""

import pyarrow as pa
import pyarrow.compute as pc

from citysplat_core.imagery.mapillary.graph import GraphClient
from citysplat_core.imagery.tables import FOUND_SCHEMA

_EXACT = 2**53


async def exact_ids(found: pa.Table, graph: GraphClient) -> tuple[pa.Table, int]:
    """Replace rounded ids by the true ones.

    Ids above 2^53 that passed through a double end up on a nearby number. The sequence lists the
    true ids as text; the one that rounds to the same double is right, if it is the only one.

    Args:
        found: ``FOUND_SCHEMA`` with rounded ids.
        graph: For the sequences.

    Returns:
        The table with true ids where they could be told, and how many could not.
    """
    ids = found.column("image_id").to_pylist()
    sequences = found.column("sequence_id").to_pylist()
    suspects = {s for i, s in zip(ids, sequences, strict=True) if s and int(i) > _EXACT}
    true_ids: dict[tuple[str, float], list[str]] = {}
    for sequence in sorted(suspects):
        for image_id in await graph.sequence(sequence):
            true_ids.setdefault((sequence, float(int(image_id))), []).append(image_id)
    repaired, n_unsolved = [], 0
    for image_id, sequence in zip(ids, sequences, strict=True):
        candidates = true_ids.get((sequence, float(int(image_id))), [])
        if len(candidates) == 1:
            repaired.append(candidates[0])
        else:
            repaired.append(image_id)
            n_unsolved += int(int(image_id) > _EXACT)
    column = FOUND_SCHEMA.get_field_index("image_id")
    table = found.set_column(column, FOUND_SCHEMA.field(column), pa.array(repaired, pa.string()))
    return table.take(pc.sort_indices(table, [("image_id", "ascending")])), n_unsolved
