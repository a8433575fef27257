"""The table of proposed pairs: what was tried, what came of it and why."""

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pycolmap

from citysplat_core.features import read_pair_counts
from citysplat_core.matching.budget import Proposals, bit_of
from citysplat_core.matching.inliers import Graph
from citysplat_core.matching.judging import Judgement
from citysplat_core.matching.pairs import wrap_deg
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.verify import Edges
from citysplat_core.settings import MatchingSettings

COLUMNS: Final = (
    "colmap_id_a",
    "colmap_id_b",
    "sources",
    "distance_m",
    "turn_deg",
    "n_matches",
    "n_inliers",
    "state",
    "reason",
    "predicted_overlap",
    "round",
)
"""Columns of ``pairs.parquet``, in order."""

_FAILED_CONFIGS: Final = {
    int(pycolmap.TwoViewGeometryConfiguration.DEGENERATE): "no geometry fits",
    int(pycolmap.TwoViewGeometryConfiguration.WATERMARK): "only a watermark matches",
}


def tabulate_proposals(
    photos: Photos, proposals: Proposals, settings: MatchingSettings
) -> pd.DataFrame:
    """Write the proposed pairs as a table.

    Args:
        photos: The photos; rows are in ascending order of colmap id.
        proposals: The pairs of all sources, each once, sorted.
        settings: Pairs beyond ``max_verified_distance_m`` are refused before they cost anything,
            unless they were retrieved.

    Returns:
        The columns of ``pairs.parquet``, sorted by ids; state is ``unmatched`` or ``refused``.
    """
    rows = proposals.pairs
    move = photos.east_north_m[rows[:, 1]] - photos.east_north_m[rows[:, 0]]
    distance_m = np.hypot(move[:, 0], move[:, 1])
    turn_deg = np.abs(wrap_deg(photos.heading_deg[rows[:, 1]] - photos.heading_deg[rows[:, 0]]))
    retrieved = (proposals.sources & bit_of("retrieval")) > 0
    far = (distance_m > settings.max_verified_distance_m) & ~retrieved
    return pd.DataFrame(
        {
            "colmap_id_a": photos.colmap_id[rows[:, 0]].astype(np.int32),
            "colmap_id_b": photos.colmap_id[rows[:, 1]].astype(np.int32),
            "sources": pd.array(proposals.source_names(), dtype="str"),
            "distance_m": distance_m,
            "turn_deg": turn_deg,
            "n_matches": np.zeros(len(rows), dtype=np.int32),
            "n_inliers": np.zeros(len(rows), dtype=np.int32),
            "state": pd.array(np.where(far, "refused", "unmatched"), dtype="str"),
            "reason": pd.array(np.where(far, "distance", "not tried"), dtype="str"),
            "predicted_overlap": proposals.overlap,
            "round": proposals.round,
        },
        columns=list(COLUMNS),
    )


def pairs_to_try(table: pd.DataFrame) -> list[tuple[int, int]]:
    """List the pairs that are compared: all but those refused before they cost anything."""
    rows = table[table["state"] != "refused"]
    return list(zip(rows["colmap_id_a"].tolist(), rows["colmap_id_b"].tolist(), strict=True))


def enter_results(table: pd.DataFrame, database: Path, settings: MatchingSettings) -> pd.DataFrame:
    """Write counts, state and reason of the matched pairs of a database into the table."""
    counts = read_pair_counts(database)
    keys = ["colmap_id_a", "colmap_id_b"]
    joined = table[keys].merge(counts, on=keys, how="left")
    tried = joined["config"].notna().to_numpy()
    n_matches = joined["n_matches"].fillna(0).to_numpy(dtype=np.int32)
    n_inliers = joined["n_inliers"].fillna(0).to_numpy(dtype=np.int32)
    config = joined["config"].fillna(-1).to_numpy(dtype=np.int64)
    failed = np.isin(config, list(_FAILED_CONFIGS))
    verified = tried & (n_inliers >= settings.min_inliers) & ~failed
    reason = table["reason"].to_numpy(dtype=object).copy()
    reason[tried] = "too few inliers"
    reason[tried & (n_matches < settings.min_inliers)] = "too few matches"
    for number, text in _FAILED_CONFIGS.items():
        reason[(config == number) & (n_matches >= settings.min_inliers)] = text
    reason[verified] = ""
    state = np.where(verified, "verified", table["state"].to_numpy(dtype=object))
    return table.assign(
        n_matches=n_matches,
        n_inliers=n_inliers,
        state=pd.array(state, dtype="str"),
        reason=pd.array(reason, dtype="str"),
    )


def enter_refusals(
    table: pd.DataFrame, photos: Photos, edges: Edges, reasons: tuple[str, ...]
) -> pd.DataFrame:
    """Write the verdict of the gates into the table."""
    ids = photos.colmap_id[edges.rows]
    refused = {
        (int(first), int(second)): reason
        for (first, second), reason in zip(ids.tolist(), reasons, strict=True)
        if reason
    }
    keys = zip(table["colmap_id_a"].tolist(), table["colmap_id_b"].tolist(), strict=True)
    found = np.array([refused.get(key, "") for key in keys], dtype=object)
    hit = found != ""
    return table.assign(
        state=pd.array(
            np.where(hit, "refused", table["state"].to_numpy(dtype=object)), dtype="str"
        ),
        reason=pd.array(np.where(hit, found, table["reason"].to_numpy(dtype=object)), dtype="str"),
    )


def enter_judgement(
    table: pd.DataFrame, photos: Photos, graph: Graph, judgement: Judgement
) -> pd.DataFrame:
    """Write refusals into the table, and how many matches the other pairs have left."""
    table = enter_refusals(table, photos, graph.edges, judgement.verdict.reasons)
    ids = photos.colmap_id[graph.edges.rows]
    left = pd.DataFrame(
        {
            "colmap_id_a": ids.min(axis=1).astype(np.int32),
            "colmap_id_b": ids.max(axis=1).astype(np.int32),
            "left": judgement.n_kept(graph.inliers),
        }
    )
    joined = table[["colmap_id_a", "colmap_id_b"]].merge(left, how="left")["left"].to_numpy()
    keeps = (table["state"] == "verified").to_numpy() & np.isfinite(joined)
    n_inliers = np.where(keeps, np.nan_to_num(joined), table["n_inliers"].to_numpy())
    return table.assign(n_inliers=n_inliers.astype(np.int32))
