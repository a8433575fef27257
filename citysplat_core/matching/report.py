"""What matching did, for people: counts, rates, spans and what hangs together."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from citysplat_core.matching.graph import PairGraph, graph_of
from citysplat_core.matching.pairs import NO_SEQUENCE
from citysplat_core.matching.photos import Photos
from citysplat_core.settings import MatchingSettings

_DISTANCE_EDGES_M: Final = (0, 2, 5, 10, 15, 20, 30, 40, 60, 100, 200)
_RANK_EDGES: Final = (1, 2, 3, 5, 9, 17, 33)
_MOST_NAMED: Final = 200
_MOST_BRIDGES: Final = 50


def summarize_pairs(table: pd.DataFrame, settings: MatchingSettings) -> dict[str, Any]:
    """Count pairs by source, by round of expansion and by reason.

    Args:
        table: The finished table of pairs.
        settings: A pair counts as matched from ``min_inliers`` raw matches on.

    Returns:
        ``{"sources": {source: {"proposed", "matched", "verified", "refused"}}, "rounds": {round:
        the same}, "total": the same, "rates": {"sources": {source: {"matched", "verified"}},
        "rounds", "total"}, "refused": {reason: n}, "unmatched": {reason: n}}``; a pair of two
        sources counts in both, and once in the total. Rates are shares of the proposed pairs.
    """
    split = table["sources"].str.split("|")
    names = sorted({name for row in split for name in row})
    sources = {name: _count(table[[name in row for row in split]], settings) for name in names}
    rounds = {str(n): _count(rows, settings) for n, rows in table.groupby("round")}
    total = _count(table, settings)
    return {
        "sources": sources,
        "rounds": rounds,
        "total": total,
        "rates": {
            "sources": {name: _rates(counts) for name, counts in sources.items()},
            "rounds": {name: _rates(counts) for name, counts in rounds.items()},
            "total": _rates(total),
        },
        "refused": _reasons(table, "refused"),
        "unmatched": _reasons(table, "unmatched"),
    }


def summarize_graph(photos: Photos, table: pd.DataFrame) -> dict[str, Any]:
    """Say how far the pairs span, what hangs together by them, by which alone, and what does not.

    Args:
        photos: The photos.
        table: The finished table of pairs.

    Returns:
        ``spans``: histograms of proposed and verified pairs; a bin reaches from its edge to the
        next one, the last has no end. ``distance_m`` by distance, ``rank`` by the number of places
        between two photos of one sequence, ``between_sequences`` the pairs without one.
        ``components``: how many have two photos or more, their sizes, falling, and the share of
        the photos in the largest. ``bridges``: the verified pairs without which a component falls
        apart, how many of them hold a single photo only, and those that join the most photos.
        ``photos_without_pair``: how many have no verified pair, and the ids of at most 200.
    """
    rows = rows_of(photos, table)
    verified = (table["state"] == "verified").to_numpy()
    graph = graph_of(len(photos), rows[verified])
    alone = np.flatnonzero(graph.is_alone)
    sizes = graph.sizes[graph.sizes > 1]
    return {
        "spans": _spans(photos, table, rows, verified),
        "components": {
            "count": len(sizes),
            "sizes": sizes.tolist(),
            "largest_share": _share(int(sizes[0]) if len(sizes) else 0, len(photos)),
        },
        "bridges": {
            "count": len(graph.bridges),
            "of_one_photo": int((graph.joined[:, 0] == 1).sum()),
            "strongest": _bridges(photos, table[verified], graph),
        },
        "photos_without_pair": {
            "count": len(alone),
            "image_ids": [_image_id(photos, row) for row in alone[:_MOST_NAMED]],
        },
    }


def counts_of(report: Mapping[str, Any]) -> dict[str, int | float]:
    """Give the few numbers of a report that stand for it on the asset's page."""
    return {
        **{f"pairs_{name}": number for name, number in report["total"].items()},
        "components": report["components"]["count"],
        "largest_component_share": report["components"]["largest_share"],
        "bridges": report["bridges"]["count"],
        "photos_without_pair": report["photos_without_pair"]["count"],
    }


def rows_of(photos: Photos, table: pd.DataFrame) -> NDArray[np.int64]:
    """Give the rows of the two photos of every pair, shape (P, 2)."""
    ids = table[["colmap_id_a", "colmap_id_b"]].to_numpy(dtype=np.int64)
    return np.searchsorted(photos.colmap_id, ids).astype(np.int64)


def _count(table: pd.DataFrame, settings: MatchingSettings) -> dict[str, int]:
    return {
        "proposed": len(table),
        "matched": int((table["n_matches"] >= settings.min_inliers).sum()),
        "verified": int((table["state"] == "verified").sum()),
        "refused": int((table["state"] == "refused").sum()),
    }


def _rates(counts: Mapping[str, int]) -> dict[str, float]:
    return {name: _share(counts[name], counts["proposed"]) for name in ("matched", "verified")}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _reasons(table: pd.DataFrame, state: str) -> dict[str, int]:
    counts = table.loc[table["state"] == state, "reason"].value_counts()
    return {str(reason): int(number) for reason, number in sorted(counts.items())}


def _spans(
    photos: Photos,
    table: pd.DataFrame,
    rows: NDArray[np.int64],
    verified: NDArray[np.bool_],
) -> dict[str, Any]:
    rank = _ranks(photos)
    same = photos.sequence[rows[:, 0]] == photos.sequence[rows[:, 1]]
    same &= photos.sequence[rows[:, 0]] != NO_SEQUENCE
    steps = np.abs(rank[rows[:, 0]] - rank[rows[:, 1]])
    distance_m = table["distance_m"].to_numpy()
    return {
        "distance_m": _histogram(distance_m, verified, _DISTANCE_EDGES_M),
        "rank": _histogram(steps[same], verified[same], _RANK_EDGES),
        "between_sequences": {
            "proposed": int((~same).sum()),
            "verified": int((verified & ~same).sum()),
        },
    }


def _ranks(photos: Photos) -> NDArray[np.int64]:
    """Give each photo its place in its sequence, by time."""
    order = np.lexsort((np.arange(len(photos)), photos.captured_at, photos.sequence))
    in_order = photos.sequence[order]
    is_first = np.r_[True, in_order[1:] != in_order[:-1]][: len(order)]
    places = np.arange(len(order))
    starts = np.maximum.accumulate(np.where(is_first, places, 0))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = places - starts
    return rank


def _histogram(
    values: NDArray[Any], verified: NDArray[np.bool_], edges: tuple[int, ...]
) -> dict[str, list[int]]:
    bins = np.searchsorted(edges, values, side="right") - 1
    return {
        "edges": list(edges),
        "proposed": np.bincount(bins, minlength=len(edges)).tolist(),
        "verified": np.bincount(bins[verified], minlength=len(edges)).tolist(),
    }


def _bridges(photos: Photos, verified: pd.DataFrame, graph: PairGraph) -> list[dict[str, Any]]:
    strongest = verified.iloc[graph.bridges[:_MOST_BRIDGES]]
    rows = rows_of(photos, strongest).tolist()
    joins = graph.joined[: len(strongest)].tolist()
    told = strongest[["n_inliers", "distance_m", "sources"]].round({"distance_m": 1})
    return [
        {
            "image_id_a": _image_id(photos, first),
            "image_id_b": _image_id(photos, second),
            "joins": joined,
            **{str(name): value for name, value in pair.items()},
        }
        for (first, second), joined, pair in zip(rows, joins, told.to_dict("records"), strict=True)
    ]


def _image_id(photos: Photos, row: int) -> str:
    return photos.names[row].removesuffix(".jpg")
