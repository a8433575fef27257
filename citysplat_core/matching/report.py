"""What matching did, for people: counts by source and reason, and a map of the pairs."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from citysplat_core.matching.photos import Photos
from citysplat_core.settings import MatchingSettings
from citysplat_core.storage import published

_COLOURS: Final = {"verified": "#1b7837", "refused": "#d73027"}
_SIDE_COLOURS: Final = ("#2166ac", "#b35806")


def summarize_pairs(table: pd.DataFrame, settings: MatchingSettings) -> dict[str, Any]:
    """Count pairs by source and by reason.

    Args:
        table: The finished table of pairs.
        settings: A pair counts as matched from ``min_inliers`` raw matches on.

    Returns:
        ``{"sources": {source: {"proposed", "matched", "verified", "refused"}}, "refused":
        {reason: n}, "unmatched": {reason: n}, "total": {...}}``; a pair of two sources counts in
        both, and once in the total.
    """
    split = table["sources"].str.split("|")
    names = sorted({name for row in split for name in row})
    of_source = {name: table[[name in row for row in split]] for name in names}
    return {
        "sources": {name: _count(rows, settings) for name, rows in of_source.items()},
        "refused": _reasons(table, "refused"),
        "unmatched": _reasons(table, "unmatched"),
        "total": _count(table, settings),
    }


def _count(table: pd.DataFrame, settings: MatchingSettings) -> dict[str, int]:
    return {
        "proposed": len(table),
        "matched": int((table["n_matches"] >= settings.min_inliers).sum()),
        "verified": int((table["state"] == "verified").sum()),
        "refused": int((table["state"] == "refused").sum()),
    }


def _reasons(table: pd.DataFrame, state: str) -> dict[str, int]:
    counts = table.loc[table["state"] == state, "reason"].value_counts()
    return {str(reason): int(number) for reason, number in sorted(counts.items())}


def draw_match_graph(path: Path, title: str, photos: Photos, table: pd.DataFrame) -> None:
    """Draw photos from above with verified (green) and refused (red) pairs, as a PNG.

    Args:
        path: The picture to write.
        title: Heading of the picture.
        photos: The photos; the two sides of a fringe get two colours.
        table: The finished table of pairs.
    """
    figure = Figure(figsize=(7, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for state in ("refused", "verified"):
        rows = table[(table["state"] == state) & (table["n_inliers"] > 0)]
        if not len(rows):
            continue
        ends = [
            photos.east_north_m[np.searchsorted(photos.colmap_id, rows[column].to_numpy())]
            for column in ("colmap_id_a", "colmap_id_b")
        ]
        strength = np.clip(rows["n_inliers"].to_numpy() / 200.0, 0.3, 1.0)
        lines = LineCollection(
            list(np.stack(ends, axis=1)),
            colors=_COLOURS[state],
            linewidths=0.4 + 1.2 * strength,
            alpha=strength if state == "verified" else 0.6,
            linestyles="solid" if state == "verified" else "dashed",
            label=f"{state} ({len(rows)})",
        )
        axes.add_collection(lines)
    for side in np.unique(photos.side):
        own = photos.east_north_m[photos.side == side]
        axes.scatter(own[:, 0], own[:, 1], s=9, color=_SIDE_COLOURS[int(side)], zorder=3)
    axes.set(aspect="equal", xlabel="east, m", ylabel="north, m", title=title)
    axes.margins(0.08)
    axes.autoscale_view()
    if axes.collections and (table["n_inliers"] > 0).any():
        legend = axes.legend(loc="upper right", fontsize=8)
        for handle in legend.legend_handles:  # else as faint as the first, weakest pair
            if handle is not None:
                handle.set(linewidth=1.6, alpha=1.0)
    with published(path) as stream:
        figure.savefig(stream, dpi=110, format="png")
