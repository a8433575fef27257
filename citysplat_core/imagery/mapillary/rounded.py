"""Repairing image ids that a tile carried as floating-point numbers."""

from dataclasses import dataclass, replace

import pyarrow as pa

from citysplat_core.imagery.mapillary.graph import GraphClient
from citysplat_core.imagery.mapillary.tiles import TileResult
from citysplat_core.imagery.tables import FOUND_SCHEMA
from citysplat_core.imagery.tile_rows import TileAddress

_EXACT = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """Tiles with exact ids.

    Attributes:
        results: The tiles; one with an id that could not be told is ``failed`` and has no images:
            a wrong id would read as one image gone and another new.
        notes: ``ids_rounded`` and ``ids_rounded_unsolved`` if there were any.
    """

    results: dict[TileAddress, TileResult]
    notes: dict[str, int]


async def repair_ids(results: dict[TileAddress, TileResult], graph: GraphClient) -> Repaired:
    """Replace rounded ids by the true ones.

    Ids above 2^53 that passed through a double end up on a nearby number. The sequence lists the
    true ids as text; the one that rounds to the same double is right, if it is the only one.

    Args:
        results: The tiles; asks nothing if no id is rounded.
        graph: For the sequences.
    """
    n_rounded = sum(result.n_rounded for result in results.values())
    if not n_rounded:
        return Repaired(results=results, notes={})
    repaired, n_all_unsolved = {}, 0
    true_ids: dict[str, dict[float, list[str]]] = {}
    for address, result in sorted(results.items()):
        if not result.n_rounded:
            repaired[address] = result
            continue
        images, n_unsolved = await _exact(result.images, graph, true_ids)
        n_all_unsolved += n_unsolved
        repaired[address] = (
            _failed(result, n_unsolved) if n_unsolved else replace(result, images=images)
        )
    notes = {"ids_rounded": n_rounded, "ids_rounded_unsolved": n_all_unsolved}
    return Repaired(results=repaired, notes=notes)


def _failed(result: TileResult, n_unsolved: int) -> TileResult:
    return TileResult(
        address=result.address,
        state="failed",
        images=FOUND_SCHEMA.empty_table(),
        tries=max(1, result.tries),
        reason=f"{n_unsolved} image ids came rounded, and their sequences do not tell which",
    )


async def _exact(
    images: pa.Table, graph: GraphClient, true_ids: dict[str, dict[float, list[str]]]
) -> tuple[pa.Table, int]:
    ids = images.column("image_id").to_pylist()
    sequences = images.column("sequence_id").to_pylist()
    repaired, n_unsolved = [], 0
    for image_id, sequence in zip(ids, sequences, strict=True):
        if int(image_id) < _EXACT:
            repaired.append(image_id)
            continue
        if sequence and sequence not in true_ids:
            true_ids[sequence] = {}
            for exact in await graph.sequence(sequence):
                true_ids[sequence].setdefault(float(int(exact)), []).append(exact)
        candidates = true_ids.get(sequence, {}).get(float(int(image_id)), [])
        repaired.append(candidates[0] if len(candidates) == 1 else image_id)
        n_unsolved += len(candidates) != 1
    column = FOUND_SCHEMA.get_field_index("image_id")
    return (
        images.set_column(column, FOUND_SCHEMA.field(column), pa.array(repaired, pa.string())),
        n_unsolved,
    )
