"""The map of the pairs: what was verified, refused, hangs on one pair alone, or on none."""

from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from citysplat_core.matching.graph import graph_of
from citysplat_core.matching.photos import Photos
from citysplat_core.matching.report import rows_of
from citysplat_core.storage import published

_VERIFIED, _REFUSED, _BRIDGE = "#1b7837", "#d73027", "#7b3294"
_SIDES: Final = ("#2166ac", "#b35806")


def draw_match_graph(path: Path, title: str, photos: Photos, table: pd.DataFrame) -> None:
    """Draw photos and pairs from above, as a PNG.

    Verified pairs are green, the stronger the darker; bridges among them, without which a part
    falls off, are violet; refused pairs are red and dashed; photos without a verified pair are
    black crosses. Of a fringe only the pairs across are known here: its photos also hang together
    inside their boxes.

    Args:
        path: The picture to write.
        title: Heading of the picture.
        photos: The photos; the two sides of a fringe get two colours.
        table: The finished table of pairs.
    """
    figure = Figure(figsize=(8, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    ends = photos.east_north_m[rows_of(photos, table)]
    verified = (table["state"] == "verified").to_numpy()
    refused = (table["state"] == "refused").to_numpy() & (table["n_inliers"] > 0).to_numpy()
    graph = graph_of(len(photos), rows_of(photos, table[verified]))
    is_bridge = np.zeros(int(verified.sum()), dtype=bool)
    is_bridge[graph.bridges] = True
    safe, bridge = ends[verified][~is_bridge], ends[verified][is_bridge]
    strength = np.clip(table["n_inliers"].to_numpy()[verified][~is_bridge] / 200.0, 0.2, 1.0)
    here = " by pairs across" if len(np.unique(photos.side)) > 1 else ""
    marks = [
        _draw_pairs(axes, ends[refused], "refused pair", _REFUSED, 0.7, style="dashed"),
        _draw_pairs(axes, safe, "verified pair", _VERIFIED, 0.4 + 1.2 * strength),
        _draw_pairs(axes, bridge, "bridge: no way round it" + here, _BRIDGE, 2.2),
        *_draw_photos(axes, photos, graph.is_alone),
    ]
    axes.set_aspect("equal", adjustable="datalim")  # a straight street would be a thin strip
    axes.set(xlabel="east, m", ylabel="north, m", title=title)
    axes.margins(0.08)
    axes.autoscale_view()
    figure.legend(handles=marks, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    with published(path) as stream:
        figure.savefig(stream, dpi=110, format="png")


def _draw_pairs(
    axes: Axes,
    ends: NDArray[np.float64],
    name: str,
    colour: str,
    width: float | NDArray[np.float64],
    *,
    style: Literal["solid", "dashed"] = "solid",
) -> Line2D:
    """Draw pairs between their two ends, shape (P, 2, 2); return their line of the legend."""
    lines = LineCollection(
        list(ends), colors=colour, linewidths=width, linestyles=style, alpha=0.75
    )
    axes.add_collection(lines)
    label = f"{name} ({len(ends):,})"
    return Line2D([], [], color=colour, linewidth=1.8, linestyle=style, label=label)


def _draw_photos(axes: Axes, photos: Photos, is_alone: NDArray[np.bool_]) -> list[Line2D]:
    sides = np.unique(photos.side).tolist()
    names = ["photo"] if len(sides) < 2 else ["photo of the first box", "photo of the second box"]
    groups = [
        ((photos.side == side) & ~is_alone, _SIDES[int(side)], ".", name)
        for side, name in zip(sides, names, strict=False)
    ]
    groups.append((is_alone, "black", "x", "photo without a verified pair"))
    marks = []
    for chosen, colour, marker, name in groups:
        east_m, north_m = photos.east_north_m[chosen].T
        axes.scatter(east_m, north_m, s=28, color=colour, marker=marker, linewidths=1.2, zorder=3)
        label = f"{name} ({int(chosen.sum()):,})"
        marks.append(Line2D([], [], color=colour, marker=marker, linestyle="none", label=label))
    return marks
