"""Verify the matches of any COLMAP database again: their geometry, and what geography says."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from citysplat_core.errors import MatchingError
from citysplat_core.features import pair_id_of, read_pair_counts
from citysplat_core.matching import chunks
from citysplat_core.matching.chunks import chunks_of, order_pairs
from citysplat_core.matching.geometries import Pair, fit_geometries, forget_geometries
from citysplat_core.matching.inliers import read_graph
from citysplat_core.matching.judging import judge_matches
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.table import enter_judgement, enter_results
from citysplat_core.matching.verify import finished_pairs
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import Progress, no_progress


def verify_pairs(
    database: Path,
    pairs: Sequence[Pair] | None = None,
    *,
    photos: Photos | None = None,
    settings: MatchingSettings | None = None,
    again: bool = False,
    n_threads: int = 1,
    progress: Progress = no_progress,
) -> pd.DataFrame:
    """Fit a geometry to the matches of pairs that have none, and judge what all of them are worth.

    Whoever made the matches: `match_pairs`, COLMAP, or hloc. Nothing is deleted from the database:
    `features.remove_pairs` takes out what is refused. A killed call is gone on with by the same
    call (without ``again``).

    Args:
        database: COLMAP database with keypoints and matches; nobody else has it open.
        pairs: Ids of the two images; None for all pairs that have matches.
        photos: The photos with positions, as from `photos_of_database`; without them geography is
            not asked.
        settings: Limits and seed; the defaults if None.
        again: Fit the geometries that are there anew, as for another seed.
        n_threads: Threads to use; the result does not depend on it.
        progress: Called after every chunk of pairs.

    Returns:
        colmap_id_a < colmap_id_b, n_matches, n_inliers, state (``verified``, ``unmatched``, or
        ``refused`` by geography) and reason; a row a pair, sorted.

    Raises:
        MatchingError: COLMAP could not read or write the database, or ``photos`` lacks some of its
            photos.
        StorageError: The database is damaged, or the disk is full.
    """
    settings = settings or MatchingSettings()
    if photos is not None:
        _refuse_strangers(database, photos)
    wanted = _all_pairs(database) if pairs is None else {(min(p), max(p)) for p in pairs}
    if again:
        forget_geometries(database, sorted(wanted))
    done = finished_pairs(database)
    todo = order_pairs([pair for pair in wanted if pair_id_of(*pair) not in done])
    n_done = len(wanted) - len(todo)
    for chunk in chunks_of(todo, chunks.FIRST_PAIRS):
        progress(n_done, len(wanted), "pairs")
        fit_geometries(database, chunk, settings, n_threads=n_threads)
        n_done += len(chunk)
    progress(n_done, len(wanted), "pairs")
    table = enter_results(_table_of(wanted), database, settings)
    if photos is None:
        return table
    graph = read_graph([database], photos.colmap_id)
    judgement = judge_matches(photos, graph.edges, graph.inliers, settings)
    return enter_judgement(table, photos, graph, judgement)


def _refuse_strangers(database: Path, photos: Photos) -> None:
    """Rows of photos are found by their ids: a photo that is not among them has none."""
    counts = read_pair_counts(database)
    there = np.unique(counts[["colmap_id_a", "colmap_id_b"]].to_numpy())
    absent = np.setdiff1d(there, photos.colmap_id)
    if len(absent):
        raise MatchingError(
            f"{len(absent)} photos of pairs in {database.name} are not among the {len(photos)} that"
            f" were given (ids {absent[:3].tolist()})",
            expected="all photos of the database",
            fix="Read them with `photos_of_database`.",
        )


def _all_pairs(database: Path) -> set[Pair]:
    counts = read_pair_counts(database)
    return set(zip(counts["colmap_id_a"].tolist(), counts["colmap_id_b"].tolist(), strict=True))


def _table_of(pairs: set[Pair]) -> pd.DataFrame:
    ids = np.array(sorted(pairs), dtype=np.int32).reshape(-1, 2)
    nothing = np.zeros(len(ids), dtype=np.int32)
    return pd.DataFrame(
        {
            "colmap_id_a": ids[:, 0],
            "colmap_id_b": ids[:, 1],
            "n_matches": nothing,
            "n_inliers": nothing,
            "state": pd.array(["unmatched"] * len(ids), dtype="str"),
            "reason": pd.array(["not tried"] * len(ids), dtype="str"),
        }
    )
